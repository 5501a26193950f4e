package eventloop_test

import (
	"runtime"
	"testing"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
)

// Groups share the loops of the process. A group that ends leaves the others as they are, the
// last one ends the loops.
func TestJoin(t *testing.T) {
	files := testutil.OpenFiles(t)
	for range 3 {
		a, b := joinGroup(t), joinGroup(t)
		if !a.SharesWith(b.Group) {
			t.Fatal("two groups have loops of their own")
		}
		if n := len(a.Loads()); n != runtime.GOMAXPROCS(0) {
			t.Errorf("%d loops for %d processors", n, runtime.GOMAXPROCS(0))
		}
		ma, mb := a.start(echo), b.start(echo)
		beside := b.addAt(echo, eventloop.Placement{Beside: &ma.Socket}) // of another group
		beside.Start()
		a.end()
		mb.ping("b")
		beside.ping("b")
		if err := a.Add(&ma.Socket, 0, ma, eventloop.Placement{}); err != eventloop.ErrClosed {
			t.Errorf("Add after Stop: %v", err)
		}
		c := joinGroup(t)
		if !c.SharesWith(b.Group) {
			t.Error("the loops have ended with the first group")
		}
		c.start(echo).ping("c")
		b.end()
		c.end()
		if c.SharesWith(joinGroupAndEnd(t).Group) {
			t.Error("the loops have not ended with the last group")
		}
	}
	var first, second eventloop.Lazy
	if !first.Group().SharesWith(second.Group()) {
		t.Error("two handlers have loops of their own")
	}
	first.Stop()
	second.Stop()
	if n := testutil.OpenFiles(t); n > files {
		t.Errorf("%d open files before, %d after", files, n)
	}
}

func joinGroupAndEnd(t *testing.T) *group {
	g := joinGroup(t)
	g.end()
	return g
}

// Only the functions of the group that blocks get goroutines of their own.
func TestBlockingIsLearntForEachGroup(t *testing.T) {
	a, b := joinGroup(t), joinGroup(t)
	inLoop := make(chan bool, 1)
	quick := a.start(func(m *member, w *eventloop.Worker, _ eventloop.Event) bool {
		b, _ := m.read()
		if len(b) > 0 {
			inLoop <- w.InLoop()
		}
		m.write(b)
		return false
	})
	slowTurns(t, b, b.start(sleepy()))
	for range 20 {
		quick.ping("a")
		if !testutil.Await(t, "a turn", inLoop) {
			t.Error("a function of the other group has a goroutine of its own")
		}
	}
	if a.Blocking() {
		t.Error("the other group counts as blocking")
	}
}
