package drain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"wireline/lib/sync/wait"
)

// ErrCut is what Shutdown returns when members were cut.
var ErrCut = errors.New("clients were cut")

// cutGrace is how long Shutdown waits for the members that it has cut to be gone.
// Their connections are closed by then; only who works on without one is left
// behind.
const cutGrace = 200 * time.Millisecond

// Member is what a Set holds: a connection, as a rule. Its methods may be called from
// any goroutine, and must neither block nor call the set.
type Member interface {
	comparable

	// Drain tells the member to come to its end as soon as it is woken, and
	// reports whether it is busy. Idle means that nobody has to wait for it.
	Drain() (busy bool)

	// Wake has the member act on what Drain has told it.
	Wake()

	// Cut ends the member at once, with a reset. It reports false if there is
	// nothing to cut, as it is about to leave the set by itself.
	Cut() bool
}

// Stats counts what a drain did with the members there were.
type Stats struct {
	Idle     int // were idle, and got their FIN at once
	Finished int // were busy, and finished what they were in
	Cut      int // were reset when the time was up
}

// Set is a set of members. The zero value is empty and ready. All methods are safe
// for concurrent use. A set that was shut down takes no more members.
type Set[M Member] struct {
	members sync.Map // M to struct{}
	live    wait.Wait

	mu    sync.Mutex // orders Add and Shutdown, and guards what is below
	stats Stats
	fates map[M]fate // not nil since Shutdown
}

// fate is what a member was counted as.
type fate struct{ busy, cut bool }

// Add reports whether m is in the set: not when it is closing.
func (s *Set[M]) Add(m M) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fates != nil {
		return false
	}
	s.live.Add(1)
	s.members.Store(m, struct{}{})
	return true
}

// Remove takes m out of the set. If it was there, last is called, and Shutdown goes
// on to wait for m until last returns.
func (s *Set[M]) Remove(m M, last func()) {
	if _, there := s.members.LoadAndDelete(m); there {
		defer s.live.Done()
		last()
	}
}

// Len returns how many members there are at this moment.
func (s *Set[M]) Len() int { return s.live.Count() }

// Range calls f for each member until it returns false. Members that come or go
// meanwhile may be seen or not.
func (s *Set[M]) Range(f func(M) bool) {
	s.members.Range(func(m, _ any) bool { return f(m.(M)) })
}

// Shutdown drains all members at the same time, and cuts what is left when ctx ends.
// The error says how many there were; it is ErrCut and ctx's cause. A further call
// waits for the same.
func (s *Set[M]) Shutdown(ctx context.Context) error {
	s.drain()
	err := s.live.WaitContext(ctx)
	if err == nil {
		return nil
	}
	cut := s.cut()
	s.live.WaitWithTimeout(cutGrace)
	if cut == 0 {
		return nil // the last one finished at the last moment
	}
	return fmt.Errorf("%w: %d of %d: %w", ErrCut, cut, s.Stats().total(), err)
}

// Stats returns what Shutdown did with the members, so far.
func (s *Set[M]) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s Stats) total() int { return s.Idle + s.Finished + s.Cut }

// drain tells every member to come to its end, once.
func (s *Set[M]) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fates != nil {
		return
	}
	s.fates = make(map[M]fate)
	s.Range(func(m M) bool {
		busy := m.Drain()
		s.fates[m] = fate{busy: busy}
		if busy {
			s.stats.Finished++
		} else {
			s.stats.Idle++
		}
		return true
	})
	// All are counted before the first one hears of it: what it does then may
	// make another one busy, or idle.
	for m := range s.fates {
		m.Wake()
	}
}

// cut cuts every member that is left, and returns how many there were.
func (s *Set[M]) cut() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Range(func(m M) bool {
		f := s.fates[m]
		if !f.cut && !m.Cut() {
			return true
		}
		n++
		if f.cut {
			return true
		}
		if f.busy {
			s.stats.Finished--
		} else {
			s.stats.Idle--
		}
		s.stats.Cut++
		s.fates[m] = fate{f.busy, true}
		return true
	})
	return n
}
