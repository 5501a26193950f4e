package eventloop_test

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
)

// turn is a call of Ready.
type turn struct {
	ev   eventloop.Event
	text string
	eof  bool
}

// reporting reads all and tells what it has seen.
func reporting(turns chan<- turn) ready {
	return func(m *member, _ *eventloop.Worker, ev eventloop.Event) bool {
		b, eof := m.read()
		turns <- turn{ev, string(b), eof}
		return false
	}
}

func TestEvents(t *testing.T) {
	turns := make(chan turn, 100)
	m := newGroup(t, 1).start(reporting(turns))
	m.send("a")
	if got := testutil.Await(t, "In", turns); got != (turn{eventloop.In, "a", false}) {
		t.Errorf("after a byte: %+v", got)
	}
	m.Wake()
	if got := testutil.Await(t, "Woken", turns); got != (turn{ev: eventloop.Woken}) {
		t.Errorf("after Wake: %+v", got)
	}
	m.peer.Close()
	if got := testutil.Await(t, "Hup", turns); got.ev&eventloop.Hup == 0 || !got.eof {
		t.Errorf("after the peer's end: %+v", got)
	}
}

// Nobody serves a socket before Start; what happens meanwhile is not lost.
func TestStartLetsGo(t *testing.T) {
	g := newGroup(t, 1)
	turns := make(chan turn, 100)
	early := g.add(reporting(turns))
	early.send("a")
	early.Wake()
	g.start(echo).ping("b") // the loop has seen what came before
	select {
	case got := <-turns:
		t.Fatalf("Ready before Start: %+v", got)
	default:
	}
	early.Start()
	if got := testutil.Await(t, "a turn after Start", turns); got != (turn{eventloop.In | eventloop.Woken, "a", false}) {
		t.Errorf("after Start: %+v", got)
	}
}

func TestWatchOut(t *testing.T) {
	g := newGroup(t, 1)
	writable := make(chan struct{}, 1000)
	m := g.add(echo)
	m.writable = func() { writable <- struct{}{} }
	m.Start()
	fill := func() (n int) {
		for p := make([]byte, 1000); ; {
			sent, err := unix.Write(m.FD(), p)
			if err != nil {
				return n
			}
			n += sent
		}
	}
	for round := range 3 {
		n := fill()
		if err := m.WatchOut(false); err != nil {
			t.Fatal(err)
		}
		g.start(echo).ping("a")
		if len(writable) > 0 {
			t.Fatalf("round %d: Writable while the socket is full", round)
		}
		m.receive(strings.Repeat("\x00", n))
		testutil.Await(t, "Writable", writable)
		for g.members[1].ping("a"); len(writable) > 0; { // the same edge
			<-writable
		}
	}
}

// Events that come while Ready runs lead to another one, and not to one at the
// same time.
func TestEventsWhileReadyRuns(t *testing.T) {
	g := newGroup(t, 1)
	turns, began, gate := make(chan turn, 100), make(chan struct{}), make(chan struct{})
	m := g.start(func(m *member, w *eventloop.Worker, ev eventloop.Event) bool {
		reporting(turns)(m, w, ev)
		if ev&eventloop.In != 0 {
			began <- struct{}{}
			<-gate
		}
		return false
	})
	other := g.start(echo)
	m.send("a")
	<-began
	testutil.Await(t, "the first turn", turns)
	for range 3 {
		m.send("b")
		m.Wake()
		other.ping("x") // the loop has seen it
	}
	if len(turns) > 0 {
		t.Fatal("Ready is called while it runs")
	}
	gate <- struct{}{}
	<-began
	if got := testutil.Await(t, "another turn", turns); got != (turn{eventloop.In | eventloop.Woken, "bbb", false}) {
		t.Errorf("the events that came meanwhile: %+v", got)
	}
	gate <- struct{}{}
	m.Wake()
	if got := testutil.Await(t, "a third turn", turns); got != (turn{ev: eventloop.Woken}) {
		t.Errorf("an event after all: %+v", got)
	}
}

// Sockets that are never done take turns, and do not keep others from theirs. On a
// busy machine one of them loses the loop, as if its function blocked, and has a
// goroutine of its own for a while: then there are no turns to take.
func TestMoreTakesTurns(t *testing.T) {
	g := newGroup(t, 1)
	var turns, last, again atomic.Int64
	var stop atomic.Bool
	var inLoop [2]atomic.Bool
	for id := range int64(2) {
		events := 0
		g.start(func(_ *member, w *eventloop.Worker, ev eventloop.Event) bool {
			inLoop[id].Store(w.InLoop())
			turns.Add(1)
			if last.Swap(id) == id && inLoop[0].Load() && inLoop[1].Load() {
				again.Add(1)
			}
			if ev != 0 {
				events++
			}
			if events > 1 && !stop.Load() {
				t.Errorf("event %b, nothing has happened", ev)
			}
			return !stop.Load()
		}).Wake()
	}
	other := g.start(echo)
	for range 100 {
		before := turns.Load()
		other.ping("a")
		eventually(t, "a socket that has more to do is called again", func() bool { return turns.Load() > before })
	}
	stop.Store(true)
	if all, n := turns.Load(), again.Load(); n > all/2 {
		t.Errorf("%d of %d turns are of the one that had the turn before", n, all)
	}
}

// What was sent arrives in its order, however it is read.
func TestOrderIsKept(t *testing.T) {
	g := newGroup(t, 2)
	got := make(chan byte, 1000)
	m := g.start(func(m *member, _ *eventloop.Worker, _ eventloop.Event) bool {
		var p [1]byte
		if n, _ := unix.Read(m.FD(), p[:]); n != 1 {
			return false
		}
		got <- p[0]
		return true
	})
	for i := range 1000 {
		m.send(string([]byte{byte(i)}))
		if i%3 == 0 {
			m.Wake()
		}
	}
	for i := range 1000 {
		if c := testutil.Await(t, "the next byte", got); c != byte(i) {
			t.Fatalf("byte %d is %d", i, c)
		}
	}
}

func TestRemoveInReady(t *testing.T) {
	g := newGroup(t, 1)
	removed := make(chan struct{})
	m := g.start(func(m *member, _ *eventloop.Worker, _ eventloop.Event) bool {
		m.remove()
		m.Remove() // once more does nothing
		close(removed)
		return true // of no effect either
	})
	m.Wake()
	testutil.Await(t, "the turn", removed)
	m.Wake()
	g.start(echo).ping("a")
	if n := g.Loads(); n[0] != 1 {
		t.Errorf("the loop has %v sockets, want 1", n)
	}
	// The number goes to the next one, which has nothing to do with it.
	for range 20 {
		next := g.start(echo)
		m.Wake()
		next.ping("b")
	}
}

func TestGoexit(t *testing.T) {
	g := newGroup(t, 1)
	gone := make(chan struct{}, 1)
	m := g.start(does(map[byte]func(){'x': func() {
		gone <- struct{}{}
		runtime.Goexit()
	}}))
	other := g.start(echo)
	for range 20 {
		m.send("x")
		testutil.Await(t, "runtime.Goexit", gone)
		m.ping("a")
		other.ping("b")
	}
}

// The loop does not wait for an event to look after the functions from its
// beginning on.
func TestFirstReadyMayBlock(t *testing.T) {
	for range 50 {
		g := newGroup(t, 1)
		gate, began := make(chan struct{}), make(chan struct{}, 1)
		m := g.start(does(map[byte]func(){'x': func() { began <- struct{}{}; <-gate }}))
		m.send("x") // the loop may not have begun yet
		other := g.start(echo)
		<-began
		other.ping("a")
		close(gate)
		g.end()
	}
}

func TestSocketsAreSpread(t *testing.T) {
	g := newGroup(t, 4)
	for range 100 {
		g.start(echo)
	}
	for _, n := range g.Loads() {
		if n < 15 || n > 35 {
			t.Errorf("the loops have %v of 100 sockets", g.Loads())
		}
	}
}

func TestBeside(t *testing.T) {
	g := newGroup(t, 4)
	first := g.start(echo)
	for range 20 {
		m := g.addAt(echo, eventloop.Placement{Beside: &first.Socket})
		m.Start()
		m.ping("a")
	}
	for _, n := range g.Loads() {
		if n != 0 && n != 21 {
			t.Errorf("the loops have %v sockets, want all on one", g.Loads())
		}
	}
}

func TestLazy(t *testing.T) {
	var l, unused eventloop.Lazy
	unused.Stop()
	if unused.Group() != nil {
		t.Error("there is a group after Stop")
	}
	g := l.Group()
	if g == nil || l.Group() != g {
		t.Fatal("there is not one group")
	}
	l.Stop()
	l.Stop()
	if l.Group() != nil {
		t.Error("there is a group after Stop")
	}
	if g.Wait(patience) {
		t.Error("the group has not ended")
	}
}

func TestStop(t *testing.T) {
	newGroup(t, 1).end() // opens what the runtime keeps open
	files := testutil.OpenFiles(t)
	g := newGroup(t, 3)
	var members []*member
	for range 10 {
		members = append(members, g.start(echo))
	}
	g.Stop()
	g.Stop()
	if !g.Wait(0) {
		t.Error("the group has ended with sockets on it")
	}
	for i, m := range members {
		m.ping("a") // it goes on
		if i < len(members)-1 {
			m.leave()
			eventually(t, "a member leaves", m.left.Load)
		}
	}
	var late eventloop.Socket
	if err := g.Add(&late, members[0].FD(), members[0], eventloop.Placement{}); !errors.Is(err, eventloop.ErrClosed) {
		t.Errorf("Add after Stop gives %v", err)
	}
	if !g.Wait(0) {
		t.Error("the group has ended with a socket on it")
	}
	g.end()
	if state := g.Watchdog(); state != "closed" {
		t.Errorf("the watchdog's timer is %s after the end", state)
	}
	if n := testutil.OpenFiles(t); n > files {
		t.Errorf("%d open files before, %d after", files, n)
	}
}

func TestStopOfAnEmptyGroup(t *testing.T) {
	for range 200 {
		g, err := eventloop.New(2)
		if err != nil {
			t.Fatal(err)
		}
		g.Stop()
		if g.Wait(patience) {
			t.Fatal("an empty group does not end")
		}
	}
}

// Nothing happens any more on the loops when they are to end.
func TestStopWakesTheLoops(t *testing.T) {
	g := newGroup(t, 2)
	for range 2 {
		m := g.start(echo)
		m.ping("a")
		m.leave()
	}
	eventually(t, "all is at rest", func() bool { return g.Watchdog() == "stopped" })
	g.Stop()
	if g.Wait(patience) {
		t.Error("the group does not end")
	}
}

// Add may come at the same time as Stop: then it fails, or its socket is served
// to its end.
func TestAddWhileStopping(t *testing.T) {
	files := testutil.OpenFiles(t)
	for range 100 {
		g := newGroup(t, 2)
		first := g.start(echo)
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		m := &member{group: g, ready: echo}
		added := make(chan bool)
		go func() { added <- g.Add(&m.Socket, fds[0], m, eventloop.Placement{}) == nil }()
		first.leave()
		g.Stop()
		if testutil.Await(t, "Add", added) {
			m.Start()
			unix.Write(fds[1], []byte("a"))
			eventually(t, "an echo", func() bool {
				n, _ := unix.Read(fds[1], make([]byte, 1))
				return n == 1
			})
			m.leave()
		} else {
			unix.Close(fds[0])
		}
		g.end()
		unix.Close(fds[1])
	}
	if !soon(patience, func() bool { return testutil.OpenFiles(t) <= files }) {
		t.Errorf("%d open files before, %d after", files, testutil.OpenFiles(t))
	}
}

func TestAddFails(t *testing.T) {
	g := newGroup(t, 1)
	m := g.start(echo)
	for name, fd := range map[string]int{"closed": 1 << 19, "too high": eventloop.TooHigh, "negative": -1} {
		var s eventloop.Socket
		if err := g.Add(&s, fd, m, eventloop.Placement{}); err == nil {
			t.Errorf("Add of a descriptor that is %s succeeds", name)
		}
	}
	if n := g.Loads(); n[0] != 1 {
		t.Errorf("the loop has %v sockets, want 1", n)
	}
	m.ping("a")
}

// A timer fires not before it is due, and not long after. A machine that is busy
// may make some of them late, hardly all.
func TestTimersAreOnTime(t *testing.T) {
	g := newGroup(t, 2)
	type fired struct{ due, at int64 }
	all := make(chan fired, 100)
	const n = 50
	for i := range n {
		m := g.add(echo)
		due := g.Now() + int64(time.Duration(i*i/4+1)*time.Millisecond)
		m.expired = func() { all <- fired{due, g.Now()} }
		m.SetTimer(due)
		m.Start()
	}
	late := 0
	for range n {
		f := testutil.Await(t, "a timer", all)
		if f.at < f.due {
			t.Errorf("a timer fires %v early", time.Duration(f.due-f.at))
		}
		if f.at-f.due > int64(50*time.Millisecond) {
			late++
		}
	}
	if late == n {
		t.Errorf("all timers were late by more than 50ms")
	}
}

func TestSetTimerChangesIt(t *testing.T) {
	g := newGroup(t, 1)
	fired := make(chan string, 10)
	timer := func(name string) *member {
		m := g.add(echo)
		m.expired = func() { fired <- name }
		m.Start()
		return m
	}
	now := g.Now()
	at := func(d time.Duration) int64 { return now + int64(d) }
	never, later, sooner, removed := timer("never"), timer("later"), timer("sooner"), timer("removed")
	never.SetTimer(at(10 * time.Millisecond))
	removed.SetTimer(at(10 * time.Millisecond))
	later.SetTimer(at(10 * time.Millisecond))
	sooner.SetTimer(at(time.Hour))
	later.SetTimer(at(200 * time.Millisecond))
	sooner.SetTimer(at(100 * time.Millisecond))
	never.SetTimer(0)
	removed.leave()
	if g.Now() > at(10*time.Millisecond) {
		t.Skip("the machine is too busy: the first timers are over")
	}
	for _, want := range []string{"sooner", "later"} {
		if got := testutil.Await(t, want, fired); got != want {
			t.Errorf("timer %q fires, want %q", got, want)
		}
	}
	last := timer("last")
	last.SetTimer(g.Now() + 1)
	if got := testutil.Await(t, "last", fired); got != "last" {
		t.Errorf("timer %q fires, want the last one", got)
	}
}
