package proxy

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// choice is the order in which the upstreams are tried for one client, each once. Those
// that are up come first. Those that are down are tried after them: there is nothing to
// lose.
type choice struct {
	settings *settings
	pair     *pair
	client   netip.Addr  // not valid if the client has none
	list     []*upstream // those that were tried, and those that are left
	tried    int         // how many of list
	now      time.Time
}

// choose begins a choice for the client of p.
func (s *settings) choose(p *pair) choice {
	c := choice{pair: p}
	c.begin(s)
	return c
}

// begin lists the upstreams of s that take clients, but for those that were tried. It asks for the
// client's address only if the choice depends on it.
func (c *choice) begin(s *settings) {
	tried := c.list[:c.tried]
	c.settings, c.now = s, time.Now()
	c.list = append(make([]*upstream, 0, c.tried+len(s.upstreams)), tried...)
	for _, u := range s.upstreams {
		if u.takesClients() && !slices.Contains(tried, u) {
			c.list = append(c.list, u)
		}
	}
	if s.cfg.Balance == BalanceSourceHash {
		c.client = ipOf(c.pair.accepted.RemoteAddr())
	}
}

// renew goes on with the settings in force if they are others, and reports whether they are. If
// connections are made in another way now, all upstreams are left to be tried.
func (c *choice) renew() bool {
	s := c.settings.proxy.settings.Load()
	if s == c.settings {
		return false
	}
	if s.generation != c.settings.generation {
		c.tried = 0
	}
	c.begin(s)
	return true
}

// ipOf is the IP address of a client; not valid if it has none.
func ipOf(addr net.Addr) netip.Addr {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp != nil {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// next returns the upstream that is to be tried next; nil if all have been tried.
func (c *choice) next() *upstream {
	left := c.list[c.tried:]
	if len(left) == 0 {
		return nil
	}
	// Move the upstreams that are up to the front.
	up := 0
	for i, u := range left {
		if u.health.usable(c.now) {
			left[i], left[up] = left[up], u
			up++
		}
	}
	if up == 0 {
		up = len(left)
	}
	i := c.pick(left[:up])
	u := left[i]
	copy(left[1:], left[:i])
	left[0] = u
	c.tried++
	u.health.claim(c.now)
	return u
}

// pick returns the index of one of list, which is not empty.
func (c *choice) pick(list []*upstream) int {
	if len(list) == 1 {
		return 0
	}
	switch x := c.settings.proxy; c.settings.cfg.Balance {
	case BalanceLeastConn:
		return leastOf(list, int(x.turn.Add(1)%uint64(len(list))))
	case BalanceRandom:
		return randomOf(list)
	case BalanceSourceHash:
		return highestOf(list, c.client)
	default:
		x.turns.Lock()
		defer x.turns.Unlock()
		return inTurn(list)
	}
}

// inTurn picks each upstream as often as its weight says, and spreads its turns evenly (it is
// the smooth weighted round robin of nginx): each upstream is credited its weight, and the one
// with the most credit pays for all.
func inTurn(list []*upstream) int {
	best, sum := 0, int64(0)
	for i, u := range list {
		w := u.weight.Load()
		sum += w
		u.credit += w
		if b := list[best]; u.credit > b.credit || u.credit == b.credit && u.index.Load() < b.index.Load() {
			best = i
		}
	}
	list[best].credit -= sum
	return best
}

// isLess reports whether a has fewer clients for its weight than b, with one more client each.
func isLess(a, b *upstream) bool {
	return (a.active.Load()+1)*max(b.weight.Load(), 1) < (b.active.Load()+1)*max(a.weight.Load(), 1)
}

// leastOf picks the upstream with the fewest clients for its weight. Of several it picks the
// first, beginning at start.
func leastOf(list []*upstream, start int) int {
	best := start
	for i := range list {
		if i = (start + i) % len(list); isLess(list[i], list[best]) {
			best = i
		}
	}
	return best
}

// randomOf draws two upstreams by their weights, and picks the one with fewer clients for its
// weight.
func randomOf(list []*upstream) int {
	a := draw(list, -1)
	b := draw(list, a)
	if isLess(list[b], list[a]) {
		return b
	}
	return a
}

// draw draws one of list by the weights, but not the one with the index without.
func draw(list []*upstream, without int) int {
	sum := int64(0)
	for i, u := range list {
		if i != without {
			sum += max(u.weight.Load(), 1)
		}
	}
	n, last := rand.Int64N(sum), 0
	for i, u := range list {
		if i == without {
			continue
		}
		last = i
		if n -= max(u.weight.Load(), 1); n < 0 {
			break
		}
	}
	return last
}

// highestOf is rendezvous hashing: client and upstream are hashed together, and the upstream
// with the highest score is picked. The score is weighted so that an upstream wins in
// proportion to its weight, and a change of one weight moves only clients from or to that
// upstream (Schindelhauer and Schomaker, Weighted Distributed Hash Tables, 2005).
func highestOf(list []*upstream, client netip.Addr) int {
	best, highest := 0, 0.0
	for i, u := range list {
		h := fnv.New64a()
		h.Write([]byte(u.key))
		h.Write(client.Unmap().AsSlice())
		score := score(mix(h.Sum64()), u.weight.Load())
		if i == 0 || score > highest || score == highest && u.index.Load() < list[best].index.Load() {
			best, highest = i, score
		}
	}
	return best
}

// score rises with the hash and with the weight.
func score(hash uint64, weight int64) float64 {
	unit := (float64(hash>>11) + 0.5) / (1 << 53) // between 0 and 1
	return float64(weight) / -math.Log(unit)
}

// mix spreads the last bytes of the hash over all bits, as FNV hardly does (it is the
// finalizer of MurmurHash3).
func mix(n uint64) uint64 {
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	n ^= n >> 33
	n *= 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}
