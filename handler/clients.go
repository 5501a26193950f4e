package handler

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"wireline/internal/drain"
	"wireline/internal/probe"
)

var (
	// ErrDraining is returned by Conn.Read while the handler is shutting down, and by
	// Conns.Add for a new connection.
	ErrDraining = errors.New("handler: draining")

	// ErrCut is returned by Shutdown when connections were cut.
	ErrCut = drain.ErrCut
)

// closeTimeout is how long Close drains.
const closeTimeout = 10 * time.Second

// DrainStats counts what a drain did with the connections.
type DrainStats struct {
	Idle     int // were idle, and got their FIN at once
	Finished int // were busy, and finished before the drain timeout
	Cut      int // were reset when the drain timeout expired
}

// Clients is the set of clients that a Frames handler serves. All methods are safe for
// concurrent use.
type Clients struct{ set[*clientMember] }

// All returns an iterator over the current clients. A client that comes or goes during
// the iteration may or may not be included. A client is not included before its OnOpen
// has returned.
func (s *Clients) All() iter.Seq[*Client] {
	return func(yield func(*Client) bool) {
		s.members.Range(func(m *clientMember) bool {
			return !m.flags.has(visible) || yield((*Client)(m))
		})
	}
}

// set is the set of connections that a handler serves. The zero value is empty and
// ready to use.
type set[M member] struct {
	// OnRecord is called once for each connection, after it has ended. It may be called
	// from any goroutine, and must not panic. Nil means LogFailures(nil);
	// LogRecords logs every record. Set it before the first connection.
	OnRecord func(Record)

	members drain.Set[M]
	lastID  atomic.Uint64
	ledger  Ledger
}

// member is a connection as a member of its set.
type member interface {
	drain.Member
	shared() *life
	Record() Record
	live() Live
	closeAs(reason Reason, mode CloseMode)
}

// add adds m and reports whether it did. It does not once the set is shutting down.
func (s *set[M]) add(m M) bool {
	m.shared().id = s.lastID.Add(1)
	s.ledger.Open()
	if s.members.Add(m) {
		return true
	}
	s.ledger.Refuse()
	return false
}

// remove removes m and writes its record. A second call for the same m does nothing.
func (s *set[M]) remove(m M) {
	s.members.Remove(m, func() {
		m.shared().seal()
		record := s.OnRecord
		if record == nil {
			record = LogFailures(nil)
		}
		r := m.Record()
		s.ledger.End(r)
		if r.Probe {
			probe.Count(m.shared().accepted)
		}
		record(r)
	})
}

// Len returns the current number of connections.
func (s *set[M]) Len() int { return s.members.Len() }

// Shutdown drains all connections at the same time. New connections are refused from
// now on. Idle connections get a FIN at once; busy ones finish their frame and send its
// reply first. When ctx ends, Shutdown resets the connections that are left. Then its
// error wraps ErrCut and the cause of ctx, and says how many they were. A frame
// function must not call Shutdown with a ctx that does not end, because Shutdown waits
// for that function.
func (s *set[M]) Shutdown(ctx context.Context) error {
	err := s.members.Shutdown(ctx)
	s.members.Range(func(m M) bool { // write their records before the process ends
		s.remove(m)
		return true
	})
	return err
}

// Close is Shutdown with a timeout of 10 seconds.
func (s *set[M]) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// Drained returns what Shutdown has done with the connections so far.
func (s *set[M]) Drained() DrainStats { return DrainStats(s.members.Stats()) }
