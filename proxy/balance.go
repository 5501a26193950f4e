package proxy

import (
	"hash/fnv"
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
	proxy  *Proxy
	client netip.Addr // not valid if the client has none
	left   []*upstream
	now    time.Time
}

// choose begins a choice. It asks for the client's address only if the choice depends on
// it.
func (x *Proxy) choose(client func() net.Addr) choice {
	c := choice{proxy: x, left: slices.Clone(x.upstreams), now: time.Now()}
	if x.Config.Balance == BalanceSourceHash {
		c.client = ipOf(client())
	}
	return c
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
	if len(c.left) == 0 {
		return nil
	}
	// Move the upstreams that are up to the front.
	up := 0
	for i, u := range c.left {
		if u.health.usable(c.now) {
			c.left[i], c.left[up] = c.left[up], u
			up++
		}
	}
	if up == 0 {
		up = len(c.left)
	}
	i := c.pick(c.left[:up])
	u := c.left[i]
	c.left = slices.Delete(c.left, i, i+1)
	u.health.claim(c.now)
	return u
}

// pick returns the index of one of list, which is not empty.
func (c *choice) pick(list []*upstream) int {
	n := len(list)
	if n == 1 {
		return 0
	}
	switch c.proxy.Config.Balance {
	case BalanceLeastConn:
		return leastOf(list, int(c.proxy.turn.Add(1)%uint64(n)))
	case BalanceRandom:
		a, b := rand.IntN(n), rand.IntN(n-1)
		if b >= a {
			b++
		}
		if list[b].active.Load() < list[a].active.Load() {
			return b
		}
		return a
	case BalanceSourceHash:
		return highestOf(list, c.client)
	}
	return inTurn(list, c.proxy.turn.Add(1))
}

// inTurn picks in the order of Config.Upstreams, which list may not have.
func inTurn(list []*upstream, turn uint64) int {
	want := int(turn % uint64(len(list)))
	for i, u := range list {
		before := 0
		for _, v := range list {
			if v.index < u.index {
				before++
			}
		}
		if before == want {
			return i
		}
	}
	return 0
}

// leastOf picks the upstream with the fewest clients. Of several it picks the first,
// beginning at start.
func leastOf(list []*upstream, start int) int {
	best, least := start, list[start].active.Load()
	for i := range list {
		i = (start + i) % len(list)
		if n := list[i].active.Load(); n < least {
			best, least = i, n
		}
	}
	return best
}

// highestOf is rendezvous hashing: client and upstream are hashed together, and the upstream
// with the highest number is picked.
func highestOf(list []*upstream, client netip.Addr) int {
	best, highest := 0, uint64(0)
	for i, u := range list {
		h := fnv.New64a()
		h.Write([]byte(u.key))
		h.Write(client.Unmap().AsSlice())
		if n := mix(h.Sum64()); i == 0 || n > highest || n == highest && u.index < list[best].index {
			best, highest = i, n
		}
	}
	return best
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
