package drain_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/internal/drain"
)

// member is a member that ends when the test says so.
type member struct {
	set     *drain.Set[*member]
	busy    bool
	leaving bool // Cut reports that it is about to leave by itself
	drained atomic.Bool
	wakes   atomic.Int32
	cuts    atomic.Int32
	last    func()
}

func (m *member) Drain() bool { m.drained.Store(true); return m.busy }

func (m *member) Wake() {
	m.wakes.Add(1)
	if !m.busy {
		m.leave()
	}
}

func (m *member) Cut() bool {
	m.cuts.Add(1)
	return !m.leaving
}

func (m *member) leave() {
	m.set.Remove(m, func() {
		if m.last != nil {
			m.last()
		}
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set drain.Set[*member]
		idle, busy, stuck, leaving := &member{set: &set}, &member{set: &set, busy: true}, &member{set: &set, busy: true}, &member{set: &set, busy: true, leaving: true}
		for _, m := range []*member{idle, busy, stuck, leaving} {
			if !set.Add(m) {
				t.Fatal("Add refused a member before Shutdown")
			}
		}
		time.AfterFunc(time.Second, busy.leave)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := set.Shutdown(ctx)
		if !errors.Is(err, drain.ErrCut) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want ErrCut and the cause of the context", err)
		}
		if got, want := set.Stats(), (drain.Stats{Idle: 1, Finished: 2, Cut: 1}); got != want {
			t.Errorf("Stats is %+v, want %+v", got, want)
		}
		if stuck.cuts.Load() != 1 || idle.cuts.Load()+busy.cuts.Load() != 0 || idle.wakes.Load() != 1 {
			t.Errorf("the stuck member was cut %d times, the idle and busy ones %d times; the idle one was woken %d times", stuck.cuts.Load(), idle.cuts.Load()+busy.cuts.Load(), idle.wakes.Load())
		}
		if set.Add(&member{set: &set}) {
			t.Error("Add accepted a member after Shutdown")
		}
		stuck.leave()
		leaving.leave()
		if err := set.Shutdown(t.Context()); err != nil || set.Len() != 0 {
			t.Errorf("second Shutdown after all members have left: %v, Len is %d", err, set.Len())
		}
	})
}

// Shutdown waits until the last function of a member has returned, and Remove calls it
// only once.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set drain.Set[*member]
		calls := 0
		m := &member{set: &set}
		m.last = func() { time.Sleep(time.Second); calls++ }
		set.Add(m)
		began := time.Now()
		if err := set.Shutdown(t.Context()); err != nil || calls != 1 || time.Since(began) != time.Second {
			t.Errorf("Shutdown: %v, with %d calls of last, after %v", err, calls, time.Since(began))
		}
		m.leave()
		if calls != 1 {
			t.Errorf("%d calls of last after a second Remove, want 1", calls)
		}
	})
}

// A member that is added during Shutdown is either refused or waited for.
func TestAddWhileClosing(t *testing.T) {
	for range 1000 {
		var set drain.Set[*member]
		m := &member{set: &set}
		added := make(chan bool)
		go func() { added <- set.Add(m) }()
		err := set.Shutdown(t.Context())
		if <-added {
			if m.wakes.Load() != 1 || err != nil {
				t.Fatalf("an added member was woken %d times, Shutdown: %v", m.wakes.Load(), err)
			}
		}
		if set.Len() != 0 {
			t.Fatal("the member is still in the set")
		}
	}
}
