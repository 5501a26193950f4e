package handler

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"wireline/internal/drain"
)

var (
	// ErrDraining is what a connection gets that comes or reads when its handler is
	// shutting down.
	ErrDraining = errors.New("handler: draining")

	// ErrCut is what Shutdown returns when connections were cut.
	ErrCut = drain.ErrCut
)

// closeTimeout is the bound of Close.
const closeTimeout = 10 * time.Second

// DrainStats counts what a drain did with the connections that there were.
type DrainStats = drain.Stats

// Clients is the set of the clients that a Frames serves. All methods are safe for
// concurrent use.
type Clients struct{ set[*clientMember] }

// All returns the clients that there are now. Those that come or go during the iteration
// may be seen or not; one whose OnOpen has not returned yet is not.
func (s *Clients) All() iter.Seq[*Client] {
	return func(yield func(*Client) bool) {
		s.members.Range(func(m *clientMember) bool {
			return !m.flags.has(visible) || yield((*Client)(m))
		})
	}
}

// set is a set of connections that a handler serves. The zero value is empty and ready.
type set[M member] struct {
	// OnRecord is called once for each connection, when it has ended, and from
	// any goroutine; it must not panic. LogRecords makes one that writes a log line.
	// Nil is LogFailures on slog.Default(). Set it before the first connection.
	OnRecord func(Record)

	members drain.Set[M]
	lastID  atomic.Uint64
}

// member is a connection in its set.
type member interface {
	drain.Member
	shared() *life
}

// add reports whether m is in the set: not when it is closing.
func (s *set[M]) add(m M) bool {
	m.shared().id = s.lastID.Add(1)
	return s.members.Add(m)
}

// remove takes m out of the set and writes its record, once.
func (s *set[M]) remove(m M) {
	s.members.Remove(m, func() {
		l := m.shared()
		l.seal()
		record := s.OnRecord
		if record == nil {
			record = LogFailures(slog.Default())
		}
		record(l.Record())
	})
}

// Len returns how many connections there are at this moment.
func (s *set[M]) Len() int { return s.members.Len() }

// Shutdown drains all connections at the same time. New ones are refused from now on,
// idle ones get their FIN at once, busy ones finish the frame that they are in and get its
// reply. What is left when ctx ends is reset, and the error says how many that were; it is
// ErrCut and ctx's cause. It waits for the frames: a frame function must not call it with
// a ctx that does not end.
func (s *set[M]) Shutdown(ctx context.Context) error {
	err := s.members.Shutdown(ctx)
	s.members.Range(func(m M) bool { // their record, before the process ends
		s.remove(m)
		return true
	})
	return err
}

// Close is Shutdown with a bound of 10 seconds.
func (s *set[M]) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// Drained returns what Shutdown did with the connections, so far.
func (s *set[M]) Drained() DrainStats { return s.members.Stats() }
