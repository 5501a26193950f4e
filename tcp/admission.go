package tcp

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// admission decides who comes in: how many at a time, how many of one address,
// how many per second. It is shared by the accept loops of a server.
type admission struct {
	max, maxPerIP int
	refuse        bool          // over max: refuse, or else wait
	rate          *rate.Limiter // nil without a limit

	mu     sync.Mutex
	active int
	perIP  map[netip.Addr]int
	leaves chan struct{} // closed at the next leave; nil when nobody waits
}

func (a *admission) init(cfg *Config) {
	a.max, a.maxPerIP = cfg.MaxClients, cfg.MaxClientsPerIP
	a.refuse = cfg.WhenFull == FullRefuse
	a.perIP = make(map[netip.Addr]int)
	if cfg.AcceptRate > 0 {
		// A hundredth of a second's worth may come at once: finer than that
		// the timers are the limit.
		burst := max(1, int(cfg.AcceptRate/100))
		a.rate = rate.NewLimiter(rate.Limit(cfg.AcceptRate), burst)
	}
}

// wait waits until it makes sense to accept one more connection. It takes no
// place yet: a listener on which nobody comes must not hold one. It reports
// false when stopped is closed.
func (a *admission) wait(stopped <-chan struct{}) bool {
	return a.waitRate(stopped) && (a.refuse || a.waitUntil(a.hasPlace, stopped))
}

// place takes a place for a connection. Where a full server waits, that may have
// to wait too: another listener can have taken the place that was there before
// the accept. It reports false when there is none to be had.
func (a *admission) place(stopped <-chan struct{}) bool {
	if a.refuse {
		return a.takePlace()
	}
	return a.waitUntil(a.takePlace, stopped)
}

// waitUntil waits until ok, which only a leave can make true, or stopped is
// closed.
func (a *admission) waitUntil(ok func() bool, stopped <-chan struct{}) bool {
	for !ok() {
		leave := a.freed()
		if ok() { // somebody left in between
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

// enter counts a connection of ip, which has a place. It reports false if ip
// has too many.
func (a *admission) enter(ip netip.Addr) bool {
	if a.maxPerIP <= 0 || !ip.IsValid() {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.perIP[ip] >= a.maxPerIP {
		return false
	}
	a.perIP[ip]++
	return true
}

// leave undoes place and enter.
func (a *admission) leave(ip netip.Addr) {
	a.mu.Lock()
	if n := a.perIP[ip]; n > 1 {
		a.perIP[ip] = n - 1
	} else {
		delete(a.perIP, ip)
	}
	a.mu.Unlock()
	a.giveBack()
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

// freed returns a channel that is closed when the next connection leaves.
func (a *admission) freed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaves == nil {
		a.leaves = make(chan struct{})
	}
	return a.leaves
}
