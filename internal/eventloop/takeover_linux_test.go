package eventloop_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
)

// stuck is what a test lets a Ready wait in.
type stuck struct {
	began, gate chan struct{}
}

func newStuck() *stuck { return &stuck{make(chan struct{}, 1000), make(chan struct{})} }

func (s *stuck) wait() {
	s.began <- struct{}{}
	<-s.gate
}

// One socket's Ready waits; all others on its loop are served. It is called again
// for what came meanwhile, in order.
func TestBlockedReadyHoldsUpNobody(t *testing.T) {
	g := newGroup(t, 1)
	s := newStuck()
	blocked := g.start(does(map[byte]func(){'w': s.wait}))
	var others []*member
	for range 20 {
		others = append(others, g.start(echo))
	}
	for range 5 {
		blocked.send("1w2")
		testutil.Await(t, "a Ready that blocks", s.began)
		blocked.send("3")
		for range 5 {
			for _, m := range others {
				m.ping("a")
			}
		}
		blocked.send("4")
		blocked.receive("1")
		s.gate <- struct{}{}
		blocked.receive("w234")
	}
}

// The loop is lost to one function after another, also those of sockets that are
// new on it.
func TestManyReadysBlock(t *testing.T) {
	g := newGroup(t, 2)
	s := newStuck()
	var blocked []*member
	for range 50 {
		m := g.start(does(map[byte]func(){'w': s.wait}))
		m.send("w")
		blocked = append(blocked, m)
	}
	for range blocked {
		testutil.Await(t, "a Ready that blocks", s.began)
	}
	g.start(echo).ping("a")
	close(s.gate)
	for _, m := range blocked {
		m.receive("w")
		m.ping("a")
	}
}

// Ready is told that it has lost its loop: once, while it runs.
func TestSlowIsCalledOnce(t *testing.T) {
	g := newGroup(t, 1)
	inLoop, gate := make(chan bool, 1), make(chan struct{})
	m := g.add(func(m *member, w *eventloop.Worker, _ eventloop.Event) bool {
		b, _ := m.read()
		inLoop <- w.InLoop()
		<-gate
		m.write(b)
		return false
	})
	slow := make(chan int32, 100)
	m.slow = func() { slow <- m.inside.Load() }
	m.Start()
	clock := g.add(echo)
	fired := make(chan struct{}, 1)
	clock.expired = func() { fired <- struct{}{} }
	clock.Start()
	for range 3 {
		m.send("w")
		// The worker of a slow call also serves what comes right after it. It has no
		// loop to lose.
		if testutil.Await(t, "a Ready that blocks", inLoop) {
			if n := testutil.Await(t, "Slow", slow); n != 1 {
				t.Errorf("%d Readys run at the time of Slow", n)
			}
		}
		clock.SetTimer(g.Now() + int64(50*time.Millisecond)) // many looks of the watchdog
		testutil.Await(t, "the clock", fired)
		gate <- struct{}{}
		m.receive("w")
	}
	if n := len(slow); n != 0 {
		t.Errorf("Slow was called %d times more than loops were lost", n)
	}
}

// A Ready knows whether others wait for it.
func TestInLoop(t *testing.T) {
	g := newGroup(t, 1)
	s := newStuck()
	inLoop := make(chan bool, 10)
	m := g.start(func(m *member, w *eventloop.Worker, _ eventloop.Event) bool {
		inLoop <- w.InLoop()
		if b, _ := m.read(); strings.Contains(string(b), "w") {
			s.wait()
			return true
		}
		return false
	})
	other := g.start(echo)
	m.send("w")
	if !testutil.Await(t, "a turn", inLoop) {
		t.Error("the first turn is not the loop's")
	}
	testutil.Await(t, "a Ready that blocks", s.began)
	other.ping("a")
	s.gate <- struct{}{}
	if testutil.Await(t, "the next turn", inLoop) {
		t.Error("the loop has another owner, and Ready does not know")
	}
	eventually(t, "the socket goes back to its loop", func() bool {
		m.send("a")
		return testutil.Await(t, "a turn", inLoop)
	})
}

// Many sockets are ready when the first of them blocks. The others are served,
// by the goroutine that has the rest of the work of the loop.
func TestRestOfABatchIsServed(t *testing.T) {
	for name, stir := range map[string]func(*member){
		"events": func(m *member) { m.peer.Write([]byte("a")) },
		"posts":  func(m *member) { m.Wake() },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 1)
			const n = 100
			served, gate := make(chan struct{}, n), make(chan struct{})
			var first atomic.Bool
			var all []*member
			for range n {
				all = append(all, g.start(func(m *member, _ *eventloop.Worker, _ eventloop.Event) bool {
					m.read()
					if first.CompareAndSwap(false, true) {
						<-gate
					}
					served <- struct{}{}
					return false
				}))
			}
			done := make(chan struct{})
			g.start(func(*member, *eventloop.Worker, eventloop.Event) bool {
				for _, m := range all { // at once, for the loop: it is here
					stir(m)
				}
				close(done)
				return false
			}).Wake()
			testutil.Await(t, "the events", done)
			for range n - 1 {
				testutil.Await(t, "the other sockets", served)
			}
			close(gate)
			testutil.Await(t, "the first socket", served)
		})
	}
}

// A Ready that was slow and has ended its goroutine has nothing to do with the
// socket that its loop serves now.
func TestGoexitAfterTakeOver(t *testing.T) {
	g := newGroup(t, 1)
	ends, waits := newStuck(), newStuck()
	m := g.start(does(map[byte]func(){'x': func() {
		ends.wait()
		runtime.Goexit()
	}}))
	other := g.start(does(map[byte]func(){'w': waits.wait}))
	for range 5 {
		m.send("x")
		testutil.Await(t, "a Ready that blocks", ends.began)
		other.send("w")
		testutil.Await(t, "another one", waits.began)
		ends.gate <- struct{}{}
		m.ping("a")
		waits.gate <- struct{}{}
		other.receive("w")
	}
}

func TestRemoveAfterTakeOver(t *testing.T) {
	g := newGroup(t, 1)
	s := newStuck()
	m := g.start(func(m *member, _ *eventloop.Worker, _ eventloop.Event) bool {
		s.wait()
		m.remove()
		return true
	})
	m.send("a")
	testutil.Await(t, "a Ready that blocks", s.began)
	other := g.start(echo)
	other.ping("a")
	m.Wake()
	s.gate <- struct{}{}
	eventually(t, "one socket is left", func() bool { return g.Loads()[0] == 1 })
	other.ping("a")
}

// Timers are looked after while a Ready blocks: its own and others'.
func TestTimersWhileReadyBlocks(t *testing.T) {
	g := newGroup(t, 1)
	s := newStuck()
	fired := make(chan struct{}, 2)
	m, other := g.add(does(map[byte]func(){'w': s.wait})), g.add(echo)
	for _, m := range []*member{m, other} {
		m.expired = func() { fired <- struct{}{} }
		m.Start()
	}
	m.send("w")
	testutil.Await(t, "a Ready that blocks", s.began)
	for range 3 {
		m.SetTimer(g.Now() + int64(20*time.Millisecond))
		other.SetTimer(g.Now() + int64(30*time.Millisecond))
		testutil.Await(t, "a timer", fired)
		testutil.Await(t, "a timer", fired)
	}
	close(s.gate)
	m.receive("w")
}

// Wait waits for a Ready whose socket is gone already.
func TestWaitWaitsForReady(t *testing.T) {
	g := newGroup(t, 1)
	s := newStuck()
	m := g.start(func(m *member, _ *eventloop.Worker, _ eventloop.Event) bool {
		m.remove()
		s.wait()
		return false
	})
	m.send("a")
	testutil.Await(t, "a Ready that blocks", s.began)
	g.Stop()
	if !g.Wait(50 * time.Millisecond) {
		t.Error("the group has ended while a Ready runs")
	}
	close(s.gate)
}

// A group ends also when a Ready that has lost its loop removes the last socket.
func TestStopWhenReadyHasLostItsLoop(t *testing.T) {
	g := newGroup(t, 1)
	s := newStuck()
	m := g.start(func(m *member, _ *eventloop.Worker, _ eventloop.Event) bool {
		s.wait()
		m.remove()
		return false
	})
	m.send("a")
	testutil.Await(t, "a Ready that blocks", s.began)
	other := g.start(echo)
	other.ping("a")
	other.leave()
	eventually(t, "one socket is left", func() bool { return g.Loads()[0] == 1 })
	g.Stop()
	if !g.Wait(20 * time.Millisecond) { // the loop sleeps now
		t.Error("the group has ended with a socket on it")
	}
	s.gate <- struct{}{}
	if g.Wait(patience) {
		t.Error("the group does not end")
	}
}

// slowTurns makes m's Ready, which sleeps for a byte 's', slow until functions
// have goroutines of their own.
func slowTurns(t *testing.T, g *group, m *member) {
	t.Helper()
	eventually(t, "functions have goroutines of their own", func() bool {
		m.ping("s")
		return g.Blocking()
	})
}

func sleepy() ready {
	return does(map[byte]func(){'s': func() { time.Sleep(20 * time.Millisecond) }})
}

// Functions that block again and again get goroutines of their own, and come back
// to the loops when they do not block any more.
func TestBlockingMode(t *testing.T) {
	testutil.Long(t)
	g := newGroup(t, 2)
	var inLoop atomic.Bool
	m := g.start(func(m *member, w *eventloop.Worker, ev eventloop.Event) bool {
		inLoop.Store(w.InLoop())
		return sleepy()(m, w, ev)
	})
	m.ping("a")
	if !inLoop.Load() || g.Blocking() {
		t.Fatal("the first turn is not the loop's")
	}
	slowTurns(t, g, m)
	var others []*member
	for range 20 {
		others = append(others, g.start(sleepy()))
	}
	for range 3 {
		for _, m := range others {
			m.send("1s2")
		}
		for _, m := range others {
			m.receive("1s2")
		}
	}
	if n := g.Workers(); n < len(others) {
		t.Errorf("%d goroutines keep their sockets, want %d", n, len(others))
	}
	m.ping("a")
	if inLoop.Load() {
		t.Error("Ready is called by a loop all the same")
	}
	eventually(t, "Ready is called by its loop again", func() bool {
		m.ping("a")
		return inLoop.Load()
	})
	eventually(t, "no goroutine keeps a socket", func() bool { return g.Workers() == 0 })
	for _, m := range others {
		m.ping("a")
	}
}

// Functions that wait for a millisecond never lose a loop, but hold up the others of it
// all the same: they get goroutines of their own, too.
func TestShortWaitsAreNoticed(t *testing.T) {
	g := newGroup(t, 1)
	var members []*member
	for range 20 {
		members = append(members, g.start(does(map[byte]func(){'s': func() { time.Sleep(time.Millisecond) }})))
	}
	eventually(t, "functions have goroutines of their own", func() bool {
		for _, m := range members {
			m.send("s")
		}
		for _, m := range members {
			m.receive("s")
		}
		return g.Blocking()
	})
}

func TestGoexitOnAWorker(t *testing.T) {
	g := newGroup(t, 1)
	gone := make(chan struct{}, 1)
	m := g.start(does(map[byte]func(){
		's': func() { time.Sleep(20 * time.Millisecond) },
		'x': func() { gone <- struct{}{}; runtime.Goexit() },
	}))
	slowTurns(t, g, m)
	for range 20 {
		m.send("x")
		testutil.Await(t, "runtime.Goexit", gone)
		m.ping("a")
	}
}

// A group ends although its workers wait for events.
func TestStopInBlockingMode(t *testing.T) {
	files := testutil.OpenFiles(t)
	g := newGroup(t, 2)
	var members []*member
	for range 20 {
		members = append(members, g.start(sleepy()))
	}
	slowTurns(t, g, members[0])
	for _, m := range members {
		m.ping("a")
	}
	g.end()
	if n := testutil.OpenFiles(t); n > files {
		t.Errorf("%d open files before, %d after", files, n)
	}
}
