package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"go.uber.org/atomic"

	"wireline/lib/sync/wait"
)

var (
	// ErrDraining is what a client gets that comes or reads when its handler
	// is shutting down.
	ErrDraining = errors.New("handler: draining")

	// ErrCut is what Shutdown returns when clients were cut.
	ErrCut = errors.New("clients were cut")
)

const (
	// closeTimeout is the bound of Clients.Close.
	closeTimeout = 10 * time.Second

	// cutGrace is how long Shutdown waits for the clients that it has cut to
	// be gone. Their connections are closed by then; only a handler that works
	// on without its connection is left behind.
	cutGrace = 200 * time.Millisecond
)

// Clients is the set of the clients that a handler serves. The zero value is
// empty and ready. All methods are safe for concurrent use. A handler that
// embeds it has its Close and Shutdown.
type Clients struct {
	// OnRecord is called once for each connection, when it has ended, and from
	// any goroutine; it must not panic. LogRecords makes one that writes a log line.
	// Nil is LogFailures on slog.Default(). Set it before the first client.
	OnRecord func(Record)

	set    sync.Map // *Client to struct{}
	live   wait.Wait
	lastID stdatomic.Uint64

	closing atomic.Bool
	mu      sync.Mutex // guards stats
	stats   DrainStats
}

// DrainStats counts what a drain did with the clients there were.
type DrainStats struct {
	Idle     int // were idle, and got their FIN at once
	Finished int // were busy, and finished what they were in
	Cut      int // were reset when the time was up
}

// Add takes conn into the set and returns it as the handler is to use it. When
// the set is closing it closes conn and returns ErrDraining.
func (s *Clients) Add(ctx context.Context, conn net.Conn) (*Conn, error) {
	c := newConn(ctx, conn, s)
	if !s.add(c.client) {
		conn.Close()
		return nil, ErrDraining
	}
	return c, nil
}

// add reports whether c is in the set: not when it is closing.
func (s *Clients) add(c *Client) bool {
	c.id = s.lastID.Add(1)
	s.live.Add(1)
	s.set.Store(c, struct{}{})
	// Shutdown sets closing before it goes through the set. If it is not set
	// now, Shutdown will find c; else it may have missed c.
	if s.closing.Load() {
		if _, there := s.set.LoadAndDelete(c); there { // or Shutdown has removed it
			s.live.Done()
		}
		return false
	}
	return true
}

// remove takes c out of the set and writes its record, once.
func (s *Clients) remove(c *Client) {
	if _, there := s.set.LoadAndDelete(c); !there {
		return
	}
	defer s.live.Done()
	c.end(ByServer, Closed, nil) // if nobody has said more
	c.ending.Load().took.Store(int64(c.begin.elapsed()))
	record := s.OnRecord
	if record == nil {
		record = LogFailures(slog.Default())
	}
	record(c.Record())
}

// Len returns how many clients there are at this moment.
func (s *Clients) Len() int { return s.live.Count() }

// Range calls f for each client until it returns false. Clients that come or
// go meanwhile may be seen or not; one whose OnOpen has not returned yet is not.
func (s *Clients) Range(f func(*Client) bool) {
	s.each(func(c *Client) bool { return !c.opened.Load() || f(c) })
}

// each is Range with every client.
func (s *Clients) each(f func(*Client) bool) {
	s.set.Range(func(c, _ any) bool { return f(c.(*Client)) })
}

// Shutdown drains all clients at the same time. New ones are refused from now
// on, idle ones get their FIN at once, busy ones finish the frame that they are
// in and get its reply. What is left when ctx ends is reset, and the error says
// how many there were; it is ErrCut and ctx's cause.
// It waits for the frames: a frame function must not call it with a ctx that does
// not end.
func (s *Clients) Shutdown(ctx context.Context) error {
	if s.closing.CompareAndSwap(false, true) {
		s.drain()
	}
	err := s.live.WaitContext(ctx)
	if err == nil {
		return nil
	}
	cut := s.cut()
	s.live.WaitWithTimeout(cutGrace)
	s.each(func(c *Client) bool { // their record, before the process ends
		s.remove(c)
		return true
	})
	if cut == 0 {
		return nil // the last one finished at the last moment
	}
	return fmt.Errorf("%w: %d of %d: %w", ErrCut, cut, s.Drained().total(), err)
}

// Close is Shutdown with a bound of 10 seconds.
func (s *Clients) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// Drained returns what Shutdown did with the clients, so far.
func (s *Clients) Drained() DrainStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (d DrainStats) total() int { return d.Idle + d.Finished + d.Cut }

// drain tells every client to come to its end.
func (s *Clients) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(func(c *Client) bool {
		if c.drain() {
			s.stats.Finished++
		} else {
			s.stats.Idle++
		}
		return true
	})
	// All are counted before the first one hears of it: what it does then may
	// make another one busy, or idle.
	s.each(func(c *Client) bool {
		c.wire.wake()
		return true
	})
}

// cut resets every client that is left.
func (s *Clients) cut() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each(func(c *Client) bool {
		if c.reason() == Hijacked {
			return true // about to leave the set
		}
		n++
		if c.wasCut {
			return true
		}
		c.wasCut = true
		if c.wasBusy {
			s.stats.Finished--
		} else {
			s.stats.Idle--
		}
		s.stats.Cut++
		c.cut()
		return true
	})
	return n
}
