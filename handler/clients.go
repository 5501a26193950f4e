package handler

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"wireline/internal/drain"
)

var (
	// ErrDraining is what a client gets that comes or reads when its handler
	// is shutting down.
	ErrDraining = errors.New("handler: draining")

	// ErrCut is what Shutdown returns when clients were cut.
	ErrCut = drain.ErrCut
)

// closeTimeout is the bound of Clients.Close.
const closeTimeout = 10 * time.Second

// Clients is the set of the clients that a handler serves. The zero value is
// empty and ready. All methods are safe for concurrent use. A handler that
// embeds it has its Close and Shutdown.
type Clients struct {
	// OnRecord is called once for each connection, when it has ended, and from
	// any goroutine; it must not panic. LogRecords makes one that writes a log line.
	// Nil is LogFailures on slog.Default(). Set it before the first client.
	OnRecord func(Record)

	set    drain.Set[member]
	lastID atomic.Uint64
}

// DrainStats counts what a drain did with the clients there were.
type DrainStats = drain.Stats

// Add takes conn into the set and returns it as the handler is to use it. When
// the set is closing it closes conn and returns ErrDraining.
func (s *Clients) Add(ctx context.Context, conn net.Conn) (*Conn, error) {
	return s.add(ctx, conn, CloseDefault)
}

// add is Add for a connection of a server that closes its connections by mode.
func (s *Clients) add(ctx context.Context, conn net.Conn, mode CloseMode) (*Conn, error) {
	c := newConn(ctx, conn, mode, s)
	if !s.addClient(c.client) {
		conn.Close()
		return nil, ErrDraining
	}
	return c, nil
}

// addClient reports whether c is in the set: not when it is closing.
func (s *Clients) addClient(c *Client) bool {
	c.id = s.lastID.Add(1)
	return s.set.Add(member{c})
}

// remove takes c out of the set and writes its record, once.
func (s *Clients) remove(c *Client) {
	s.set.Remove(member{c}, func() {
		c.end(ByServer, Closed, nil) // if nobody has said more
		c.ending.Load().took.Store(int64(c.begin.elapsed()))
		record := s.OnRecord
		if record == nil {
			record = LogFailures(slog.Default())
		}
		record(c.Record())
	})
}

// Len returns how many clients there are at this moment.
func (s *Clients) Len() int { return s.set.Len() }

// Range calls f for each client until it returns false. Clients that come or
// go meanwhile may be seen or not; one whose OnOpen has not returned yet is not.
func (s *Clients) Range(f func(*Client) bool) {
	s.set.Range(func(m member) bool { return !m.opened.Load() || f(m.Client) })
}

// Shutdown drains all clients at the same time. New ones are refused from now
// on, idle ones get their FIN at once, busy ones finish the frame that they are
// in and get its reply. What is left when ctx ends is reset, and the error says
// how many there were; it is ErrCut and ctx's cause.
// It waits for the frames: a frame function must not call it with a ctx that does
// not end.
func (s *Clients) Shutdown(ctx context.Context) error {
	err := s.set.Shutdown(ctx)
	s.set.Range(func(m member) bool { // their record, before the process ends
		s.remove(m.Client)
		return true
	})
	return err
}

// Close is Shutdown with a bound of 10 seconds.
func (s *Clients) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// Drained returns what Shutdown did with the clients, so far.
func (s *Clients) Drained() DrainStats { return s.set.Stats() }
