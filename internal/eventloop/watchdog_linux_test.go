package eventloop_test

import (
	"testing"
	"time"

	"wireline/internal/testutil"
)

// While nothing happens, nothing wakes the process.
func TestKeeperRests(t *testing.T) {
	g := newGroup(t, 2)
	rests := func(want string) {
		t.Helper()
		eventually(t, "the watchdog's timer is "+want, func() bool { return g.Watchdog() == want })
	}
	rests("stopped")
	m, other := g.start(sleepy()), g.start(echo)
	rests("stopped")
	for range 5 {
		m.ping("a")
		other.ping("a")
		rests("stopped")
	}
	m.SetTimer(g.Now() + int64(time.Hour))
	rests("once")
	m.ping("a")
	rests("once")
	m.SetTimer(0)
	m.ping("a")
	rests("stopped")
	m.ping("s")
	rests("stopped")
	slowTurns(t, g, m)
	m.ping("a")
	other.ping("a")
	rests("stopped") // when goroutines that wait have gone
	if n := g.Workers(); n != 0 {
		t.Errorf("%d goroutines keep a socket", n)
	}
}

// It wakes for a timer, again and again: whether that makes the loops work or
// not.
func TestKeeperWakesForATimer(t *testing.T) {
	for name, wakes := range map[string]bool{"nothing else": false, "a wake": true} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 1)
			s := newStuck()
			m := g.add(does(map[byte]func(){'w': s.wait}))
			fired := make(chan int64, 1)
			m.expired = func() {
				if wakes {
					m.Wake()
				}
				fired <- g.Now()
			}
			m.Start()
			other := g.start(echo)
			for range 10 {
				due := g.Now() + int64(40*time.Millisecond)
				m.SetTimer(due)
				eventually(t, "the watchdog waits for the timer", func() bool {
					return g.Watchdog() == "once" || g.Now() > due
				})
				if at := testutil.Await(t, "the timer", fired); at < due {
					t.Errorf("it fires %v early", time.Duration(due-at))
				}
			}
			// It also looks after the loop again.
			m.send("w")
			testutil.Await(t, "a Ready that blocks", s.began)
			other.ping("a")
			close(s.gate)
			m.receive("w")
		})
	}
}

// A timer that is set while the watchdog waits for a later one is not missed.
func TestKeeperWakesForAnEarlierTimer(t *testing.T) {
	g := newGroup(t, 2)
	m, other := g.add(echo), g.add(echo)
	fired := make(chan struct{}, 1)
	other.expired = func() { fired <- struct{}{} }
	m.Start()
	other.Start()
	m.SetTimer(g.Now() + int64(time.Hour))
	eventually(t, "the watchdog waits for the timer", func() bool { return g.Watchdog() == "once" })
	other.SetTimer(g.Now() + int64(30*time.Millisecond))
	testutil.Await(t, "the earlier timer", fired)
}
