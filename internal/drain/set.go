package drain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"wireline/lib/sync/wait"
)

// ErrCut is returned by Shutdown when members were cut.
var ErrCut = errors.New("clients were cut")

// cutGrace is how long Shutdown waits for the members that it has cut. Their
// connections are closed by then, so only a member that goes on without its connection
// is left behind.
const cutGrace = 200 * time.Millisecond

// Member is an element of a Set, usually a connection. Its methods may be called from
// any goroutine, and must neither block nor call the set.
type Member interface {
	comparable

	// Drain tells the member to end when it is woken, and reports whether it is busy.
	// An idle member can end at once.
	Drain() (busy bool)

	// Wake makes the member act on Drain.
	Wake()

	// Cut ends the member at once, with a reset. It reports false if there is nothing
	// to cut because the member is about to leave the set by itself.
	Cut() bool
}

// Stats counts what a drain did with the members.
type Stats struct {
	Idle     int // members that were idle, and ended at once
	Finished int // members that were busy, and finished their work
	Cut      int // members that were reset when the timeout expired
}

// Set is a set of members. The zero value is empty and ready to use. All methods are
// safe for concurrent use. A set that was shut down accepts no more members.
type Set[M Member] struct {
	members sync.Map // M to struct{}
	live    wait.Wait

	mu    sync.Mutex // orders Add and Shutdown; guards the fields below
	stats Stats
	fates map[M]fate // nil until Shutdown
}

// fate says how Stats counts a member.
type fate struct{ busy, cut bool }

// Add adds m and reports whether it did. It does not after Shutdown.
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

// Remove removes m from the set. If m was in the set, Remove calls last; Shutdown waits
// until last returns.
func (s *Set[M]) Remove(m M, last func()) {
	if _, there := s.members.LoadAndDelete(m); there {
		defer s.live.Done()
		last()
	}
}

// Len returns the current number of members.
func (s *Set[M]) Len() int { return s.live.Count() }

// Range calls f for each member until f returns false. A member that comes or goes
// meanwhile may or may not be included.
func (s *Set[M]) Range(f func(M) bool) {
	s.members.Range(func(m, _ any) bool { return f(m.(M)) })
}

// Shutdown drains all members at the same time, and cuts those that are left when ctx
// ends. Then its error wraps ErrCut and the cause of ctx, and says how many members
// were cut. A further call waits for the same members.
func (s *Set[M]) Shutdown(ctx context.Context) error {
	s.drain()
	err := s.live.WaitContext(ctx)
	if err == nil {
		return nil
	}
	cut := s.cut()
	s.live.WaitWithTimeout(cutGrace)
	if cut == 0 {
		return nil // the last member ended just in time
	}
	return fmt.Errorf("%w: %d of %d: %w", ErrCut, cut, s.Stats().total(), err)
}

// Stats returns what Shutdown has done with the members so far.
func (s *Set[M]) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s Stats) total() int { return s.Idle + s.Finished + s.Cut }

// drain tells every member to end. A second call does nothing.
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
	// Count all members before waking the first one: what that one does may make
	// another one busy or idle.
	for m := range s.fates {
		m.Wake()
	}
}

// cut cuts every member that is left, and returns how many it has cut.
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
