package tcp

import (
	"log/slog"
	"net/netip"
	"sync"
	stdatomic "sync/atomic"
	"time"
)

// admission limits the connections of a server, as its settings say: how many at one time, how
// many of one address and of one network, from which networks, and how many per second. The
// accept loops of the server share it.
type admission struct {
	settings *stdatomic.Pointer[settings] // of the server
	onFull   func()                       // called when an accept loop begins to wait for a place; may be nil

	mu     sync.Mutex
	active int
	perIP  map[netip.Addr]int   // those that came while there was a limit
	perNet map[netip.Prefix]int // the same
	leaves chan struct{}        // closed when the next connection leaves, or the settings change; nil if none waits for that
}

// verdict is what enter says of a client.
type verdict uint8

const (
	admitted verdict = iota
	denied           // by Config.Allow or Config.Deny
	overPerIP
	overPerPrefix
)

func (a *admission) init(s *Server) {
	a.settings = &s.settings
	a.perIP = make(map[netip.Addr]int)
	a.perNet = make(map[netip.Prefix]int)
	a.onFull = func() {
		s.refusals.add(causeWaiting, "", slog.Int("max_clients", s.settings.Load().MaxClients))
	}
}

// wait waits until one more connection may be accepted. It does not take a place: a
// listener without clients must not hold one. It reports false when stopped is closed.
func (a *admission) wait(stopped <-chan struct{}) bool {
	return a.waitRate(stopped) && a.waitUntil(a.mayAccept, stopped)
}

// mayAccept reports whether a connection that is accepted now has a place, or is to be refused.
func (a *admission) mayAccept() bool {
	set := a.settings.Load()
	if set.refuses() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return set.MaxClients <= 0 || a.active < set.MaxClients
}

// place takes a place for a connection that was accepted. If full servers wait, place may
// have to wait: another listener may have taken the place that was free before the accept.
// It reports false if there is no place.
func (a *admission) place(stopped <-chan struct{}) bool {
	if a.takePlace() {
		return true
	}
	taken := false
	a.waitUntil(func() bool {
		taken = a.takePlace()
		return taken || a.settings.Load().refuses()
	}, stopped)
	return taken
}

// waitUntil waits until ok returns true, which only a leave or other settings can change, or
// stopped is closed.
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

// waitRate waits until the rate allows one more connection.
func (a *admission) waitRate(stopped <-chan struct{}) bool {
	for {
		set := a.settings.Load()
		if set.rate == nil {
			return !isClosed(stopped)
		}
		place := set.rate.Reserve()
		if place.Delay() == 0 {
			return !isClosed(stopped)
		}
		switch waitFor(place.Delay(), stopped, set.replaced) {
		case timeOver:
			return true
		case firstClosed:
			return false
		}
		place.Cancel() // the rate may be another one now
	}
}

// isClosed reports whether c is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// waited is what has ended a wait.
type waited int

const (
	timeOver waited = iota
	firstClosed
	secondClosed
)

// waitFor waits for d, or until one of the channels is closed.
func waitFor(d time.Duration, first, second <-chan struct{}) waited {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-first:
		return firstClosed
	case <-second:
		return secondClosed
	case <-timer.C:
		return timeOver
	}
}

func (a *admission) takePlace() bool {
	most := a.settings.Load().MaxClients
	a.mu.Lock()
	defer a.mu.Unlock()
	if most > 0 && a.active >= most {
		return false
	}
	a.active++
	return true
}

// enter counts a connection, which has a place, for its address and its network, if it may
// come in by its settings. A client without an address is not counted.
func (a *admission) enter(set *settings, ip netip.Addr) verdict {
	if !ip.IsValid() {
		return admitted
	}
	if !set.networks.allows(ip) {
		return denied
	}
	if set.MaxClientsPerIP <= 0 && set.MaxClientsPerPrefix <= 0 {
		return admitted
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	network := set.networks.of(ip)
	switch {
	case set.MaxClientsPerIP > 0 && a.perIP[ip] >= set.MaxClientsPerIP:
		return overPerIP
	case set.MaxClientsPerPrefix > 0 && a.perNet[network] >= set.MaxClientsPerPrefix:
		return overPerPrefix
	}
	a.countUp(set, ip)
	return admitted
}

// countUp counts a connection for its address and its network.
func (a *admission) countUp(set *settings, ip netip.Addr) {
	if set.MaxClientsPerIP > 0 {
		a.perIP[ip]++
	}
	if set.MaxClientsPerPrefix > 0 {
		a.perNet[set.networks.of(ip)]++
	}
}

// enterAgain is place and enter for a connection that has left, without their limits.
func (a *admission) enterAgain(set *settings, ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.active++
	if ip.IsValid() {
		a.countUp(set, ip)
	}
}

// leave undoes place, and enter with the same settings if ip is valid.
func (a *admission) leave(set *settings, ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ip.IsValid() {
		if set.MaxClientsPerIP > 0 {
			countDown(a.perIP, ip)
		}
		if set.MaxClientsPerPrefix > 0 {
			countDown(a.perNet, set.networks.of(ip))
		}
	}
	a.active--
	a.wakeLocked()
}

// countDown undoes a count.
func countDown[K comparable](counts map[K]int, key K) {
	if n := counts[key]; n > 1 {
		counts[key] = n - 1
	} else {
		delete(counts, key)
	}
}

// wake lets those that wait look at the settings again.
func (a *admission) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wakeLocked()
}

func (a *admission) wakeLocked() {
	if a.leaves != nil {
		close(a.leaves)
		a.leaves = nil
	}
}

// freed returns a channel that is closed when a connection leaves, or the settings change.
func (a *admission) freed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaves == nil {
		a.leaves = make(chan struct{})
	}
	return a.leaves
}
