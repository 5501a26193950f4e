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

// member is one whose end the test decides about.
type member struct {
	set     *drain.Set[*member]
	busy    bool
	leaving bool // by itself
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
				t.Fatal("a set that is not closing takes no member")
			}
		}
		time.AfterFunc(time.Second, busy.leave)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := set.Shutdown(ctx)
		if !errors.Is(err, drain.ErrCut) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want ErrCut and why", err)
		}
		if got, want := set.Stats(), (drain.Stats{Idle: 1, Finished: 2, Cut: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if stuck.cuts.Load() != 1 || idle.cuts.Load()+busy.cuts.Load() != 0 || idle.wakes.Load() != 1 {
			t.Errorf("stuck was cut %d times", stuck.cuts.Load())
		}
		if set.Add(&member{set: &set}) {
			t.Error("a set that was shut down takes members")
		}
		stuck.leave()
		leaving.leave()
		if err := set.Shutdown(t.Context()); err != nil || set.Len() != 0 {
			t.Errorf("the second Shutdown, when all have left: %v, %d left", err, set.Len())
		}
	})
}

// Shutdown waits until the last words of a member are said, and they are said once.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set drain.Set[*member]
		said := 0
		m := &member{set: &set}
		m.last = func() { time.Sleep(time.Second); said++ } // in the bubble's time
		set.Add(m)
		began := time.Now()
		if err := set.Shutdown(t.Context()); err != nil || said != 1 || time.Since(began) != time.Second {
			t.Errorf("%v, said %d times, after %v", err, said, time.Since(began))
		}
		m.leave()
		if said != 1 {
			t.Errorf("said %d times", said)
		}
	})
}

// Members that come while the set is shut down are either refused or waited for.
func TestAddWhileClosing(t *testing.T) {
	for range 1000 {
		var set drain.Set[*member]
		m := &member{set: &set}
		added := make(chan bool)
		go func() { added <- set.Add(m) }()
		err := set.Shutdown(t.Context())
		if <-added {
			if m.wakes.Load() != 1 || err != nil {
				t.Fatalf("woken %d times, %v", m.wakes.Load(), err)
			}
		}
		if set.Len() != 0 {
			t.Fatal("it is still there")
		}
	}
}
