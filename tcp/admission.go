package tcp

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// admission limits the connections of a server: how many at one time, how many of one address
// and of one network, from which networks, and how many per second. The accept loops of the
// server share it.
type admission struct {
	max       int
	refuse    bool          // over max: refuse the client instead of waiting
	rate      *rate.Limiter // nil without a limit
	networks  networks
	maxPerIP  int
	maxPerNet int
	onFull    func() // called when an accept loop begins to wait for a place; may be nil

	mu     sync.Mutex
	active int
	perIP  map[netip.Addr]int
	perNet map[netip.Prefix]int
	leaves chan struct{} // closed when the next connection leaves; nil if none waits for that
}

// verdict is what enter says of a client.
type verdict uint8

const (
	admitted verdict = iota
	denied           // by Config.Allow or Config.Deny
	overPerIP
	overPerPrefix
)

func (a *admission) init(cfg *Config) {
	a.max, a.maxPerIP, a.maxPerNet = cfg.MaxClients, cfg.MaxClientsPerIP, cfg.MaxClientsPerPrefix
	a.networks = cfg.networks()
	a.refuse = cfg.WhenFull == FullRefuse
	a.perIP = make(map[netip.Addr]int)
	a.perNet = make(map[netip.Prefix]int)
	if cfg.AcceptRate > 0 {
		// The connections of 10 ms may come at once: timers are not much finer.
		burst := max(1, int(cfg.AcceptRate/100))
		a.rate = rate.NewLimiter(rate.Limit(cfg.AcceptRate), burst)
	}
}

// wait waits until one more connection may be accepted. It does not take a place: a
// listener without clients must not hold one. It reports false when stopped is closed.
func (a *admission) wait(stopped <-chan struct{}) bool {
	return a.waitRate(stopped) && (a.refuse || a.waitUntil(a.hasPlace, stopped))
}

// place takes a place for a connection that was accepted. If full servers wait, place may
// have to wait: another listener may have taken the place that was free before the accept.
// It reports false if there is no place.
func (a *admission) place(stopped <-chan struct{}) bool {
	if a.refuse {
		return a.takePlace()
	}
	return a.waitUntil(a.takePlace, stopped)
}

// waitUntil waits until ok returns true, which only a leave can change, or stopped is
// closed.
func (a *admission) waitUntil(ok func() bool, stopped <-chan struct{}) bool {
	if ok() {
		return true
	}
	if a.onFull != nil {
		a.onFull()
	}
	for !ok() {
		leave := a.freed()
		if ok() { // a connection has left in between
			return true
		}
		select {
		case <-leave:
		case <-stopped:
			return ok()
		}
	}
	return true
}

func (a *admission) waitRate(stopped <-chan struct{}) bool {
	var delay time.Duration
	if a.rate != nil {
		delay = a.rate.Reserve().Delay()
	}
	if delay == 0 {
		select {
		case <-stopped:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-stopped:
		return false
	case <-timer.C:
		return true
	}
}

func (a *admission) hasPlace() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.max <= 0 || a.active < a.max
}

func (a *admission) takePlace() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.max > 0 && a.active >= a.max {
		return false
	}
	a.active++
	return true
}

// enter counts a connection, which has a place, for its address and its network, if it may
// come in. A client without an address is not counted.
func (a *admission) enter(ip netip.Addr) verdict {
	if !ip.IsValid() {
		return admitted
	}
	if !a.networks.allows(ip) {
		return denied
	}
	if a.maxPerIP <= 0 && a.maxPerNet <= 0 {
		return admitted
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	network := a.networks.of(ip)
	switch {
	case a.maxPerIP > 0 && a.perIP[ip] >= a.maxPerIP:
		return overPerIP
	case a.maxPerNet > 0 && a.perNet[network] >= a.maxPerNet:
		return overPerPrefix
	}
	if a.maxPerIP > 0 {
		a.perIP[ip]++
	}
	if a.maxPerNet > 0 {
		a.perNet[network]++
	}
	return admitted
}

// leave undoes place, and enter if ip is valid.
func (a *admission) leave(ip netip.Addr) {
	if ip.IsValid() {
		a.mu.Lock()
		countDown(a.perIP, ip)
		countDown(a.perNet, a.networks.of(ip))
		a.mu.Unlock()
	}
	a.giveBack()
}

// countDown undoes a count, if there is one.
func countDown[K comparable](counts map[K]int, key K) {
	if n := counts[key]; n > 1 {
		counts[key] = n - 1
	} else {
		delete(counts, key)
	}
}

// giveBack undoes place.
func (a *admission) giveBack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active--
	if a.leaves != nil {
		close(a.leaves)
		a.leaves = nil
	}
}

// freed returns a channel that is closed when a connection leaves.
func (a *admission) freed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaves == nil {
		a.leaves = make(chan struct{})
	}
	return a.leaves
}
