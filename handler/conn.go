package handler

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/atomic"

	"wireline/internal/closing"
	"wireline/internal/drain"
	"wireline/internal/netconn"
	"wireline/internal/timestamp"
	"wireline/lib/sync/wait"
)

// past is a deadline in the past. It interrupts the current Read and makes every later
// one fail.
var past = time.Unix(1, 0)

// Conn is a connection that a handler reads and writes itself. It is a net.Conn that
// counts its bytes, and whose Read a drain can interrupt. A Conn is idle while Read
// waits, and busy from the end of a Read to the next call. It also starts busy.
//
// All methods are safe for concurrent use. Func and Conns make Conns.
type Conn struct {
	// Value is for the application's own data about this connection.
	Value any

	life
	conn     net.Conn
	owner    *Conns
	inflight wait.Wait // writes in progress
	busy     bool      // under mu of life
	answered bool      // something was written after something was read; under mu of life
	active   int64     // timestamp.Clock at the last byte either way; under mu of life

	deadlines sync.Mutex    // orders SetReadDeadline and wake; guards the fields below
	lingered  chan struct{} // nil until the connection lingers; closed when that is over
	lingerEnd time.Time     // when lingering ends at the latest; zero until the connection lingers
	eof       atomic.Bool   // the client has sent its FIN
}

func newConn(a Accepted, conn net.Conn, owner *Conns) *Conn {
	c := &Conn{conn: conn, owner: owner}
	c.accepted, c.begin = a, timestamp.Now()
	c.active = timestamp.Clock()
	c.busy = true // it may send a greeting before it reads
	return c
}

// serve calls f, then closes the connection. The caller recovers panics.
func (c *Conn) serve(f func(ctx context.Context, c *Conn)) {
	returned := false
	defer func() {
		if !returned {
			c.end(ByServer, ReasonPanic, nil)
		}
		c.finish()
	}()
	f(c.Context(), c)
	returned = true
}

// NetConn returns the underlying connection. Bytes read and written there are not
// counted.
func (c *Conn) NetConn() net.Conn { return c.conn }

func (c *Conn) setBusy(busy bool) {
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
}

// Busy reports whether the handler is working for the client. It is not while a Read
// waits.
func (c *Conn) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy
}

// Quit begins to close the connection and returns at once: Read returns net.ErrClosed
// from now on, and the connection is closed when the handler function has returned.
func (c *Conn) Quit() {
	c.end(ByServer, ReasonClosed, nil)
	c.wake()
}

// CloseWith is like Quit, but uses mode instead of the server's close mode. CloseReset
// does not wait for the handler function: it resets the connection at once. It always
// returns nil.
func (c *Conn) CloseWith(mode CloseMode) error {
	c.closeAs(ReasonClosed, mode)
	return nil
}

func (c *Conn) closeAs(reason Reason, mode CloseMode) {
	c.ending.CompareAndSwap(nil, &ending{by: ByServer, reason: reason, mode: mode, asked: true})
	if mode == CloseReset {
		netconn.Reset(c.conn)
	} else {
		c.wake()
	}
}

// Read implements net.Conn. During a drain it returns ErrDraining, and after Quit or
// CloseWith it returns net.ErrClosed. A client that has come while the server was about to stop may
// still send its first request, for a moment and until something is written after it.
func (c *Conn) Read(p []byte) (int, error) {
	c.setBusy(false)
	if err := c.stopped(); err != nil {
		return 0, err
	}
	n, err := c.conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if stopped := c.stopped(); stopped != nil {
			return n, stopped
		}
	}
	c.mu.Lock()
	c.busy = true
	c.count.BytesIn += int64(n)
	c.active = timestamp.Clock()
	c.mu.Unlock()
	switch {
	case err == io.EOF:
		c.eof.Store(true)
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		c.endIO(err)
	}
	return n, err
}

// stopped returns why Read must not continue, or nil.
func (c *Conn) stopped() error {
	switch {
	case c.flags.has(draining) && !time.Now().Before(c.firstInput()):
		return ErrDraining
	case c.reason() == ReasonClosed, c.reason() == ReasonKicked:
		return net.ErrClosed
	}
	return nil
}

// firstInput returns until when a drain waits for the first request of a client that has come
// late; zero if it does not. A request may come in parts; it is over when something is written.
func (c *Conn) firstInput() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered {
		return time.Time{}
	}
	return drain.FirstInput(c.accepted)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.inflight.Add(1)
	defer c.inflight.Done()
	n, err := c.conn.Write(p)
	c.mu.Lock()
	c.count.BytesOut += int64(n)
	c.count.FramesOut++
	c.answered = c.answered || c.count.BytesIn > 0
	c.active = timestamp.Clock()
	c.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.endIO(err)
	}
	return n, err
}

// Close implements net.Conn. It closes the connection by the mode of CloseWith or the
// server, and may wait as that mode demands. It also removes the connection from its
// set and writes its record.
func (c *Conn) Close() error {
	c.noteEnd()
	err := c.close()
	c.owner.remove((*connMember)(c))
	return err
}

// close closes the connection as its close mode and reason demand. When the handler
// function itself has called Close, it lingers only if the mode is CloseLingering.
func (c *Conn) close() error {
	mode, _ := c.closeMode()
	how, bound := c.howToClose()
	switch {
	case how == closing.Reset:
		return netconn.Reset(c.conn)
	case how == closing.Linger && mode == CloseLingering:
		c.awaitFIN(closing.LongLinger)
	case how == closing.Quiet:
		c.CloseWrite() // so that a FIN comes first, even if close(2) sends a RST
	}
	if bound > 0 {
		return netconn.CloseWithin(c.conn, bound)
	}
	if c.accepted.CloseMode().setsLinger() {
		netconn.SetLinger(c.conn, -1)
	}
	return c.conn.Close()
}

// awaitFIN sends a FIN, then discards input until the FIN of the client, for at most
// limit. A second call waits for the first.
func (c *Conn) awaitFIN(limit time.Duration) {
	c.deadlines.Lock()
	inProgress := c.lingered
	if inProgress == nil {
		c.lingered = make(chan struct{})
	}
	c.deadlines.Unlock()
	if inProgress != nil {
		<-inProgress
		return
	}
	defer close(c.lingered)
	if c.CloseWrite() != nil {
		return
	}
	c.deadlines.Lock()
	c.lingerEnd = time.Now().Add(limit)
	c.boundLingering()
	c.deadlines.Unlock()
	netconn.AwaitFIN(c.conn)
}

// boundLingering sets the read deadline of a lingering close to lingerEnd. A drain
// shortens that. The caller holds deadlines.
func (c *Conn) boundLingering() {
	if soon := time.Now().Add(closing.ShortLinger); c.flags.has(draining) && soon.Before(c.lingerEnd) {
		c.lingerEnd = soon
	}
	c.conn.SetReadDeadline(c.lingerEnd)
}

// noteEnd sets the reason for the end of the connection if there is none yet.
func (c *Conn) noteEnd() {
	switch {
	case c.eof.Load():
		c.end(ByClient, ReasonFIN, nil)
	case c.flags.has(draining):
		c.end(ByServer, ReasonDrain, nil)
	default:
		c.end(ByServer, ReasonClosed, nil)
	}
}

// CloseWrite sends a FIN and leaves the other direction open. It returns
// errors.ErrUnsupported if the connection cannot do that.
func (c *Conn) CloseWrite() error { return netconn.CloseWrite(c.conn) }

// CloseRead discards further input. It returns errors.ErrUnsupported if the connection
// cannot do that.
func (c *Conn) CloseRead() error {
	if half, ok := c.conn.(interface{ CloseRead() error }); ok {
		return half.CloseRead()
	}
	return errors.ErrUnsupported
}

// SyscallConn implements syscall.Conn. It returns errors.ErrUnsupported if the
// connection has no file descriptor that carries its bytes, as under TLS. Bytes read
// and written there are not counted.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn. It has no effect during a drain and after Quit
// or CloseWith.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.stopped() != nil {
		return nil // keep the deadline that wake has set
	}
	if c.flags.has(draining) {
		if until := c.firstInput(); t.IsZero() || t.After(until) {
			t = until
		}
	}
	return c.conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

// finish closes the connection after the handler function has returned. It waits for
// writes of other goroutines, and lingers so that the last write arrives even if the
// client is still sending.
func (c *Conn) finish() {
	if c.inflight.WaitWithTimeout(flushTimeout) {
		c.end(ByServer, ReasonWriteTimeout, errWriteTimeout)
		netconn.Reset(c.conn)
	}
	c.noteEnd()
	switch how, _ := c.howToClose(); how {
	case closing.Quiet, closing.Linger:
		limit := closing.ShortLinger
		if mode, _ := c.closeMode(); mode == CloseLingering {
			limit = closing.LongLinger
		}
		c.awaitFIN(limit)
	}
	c.Close()
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// wake interrupts the current Read and every later one, so that Read checks the state
// of the connection.
func (c *Conn) wake() {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	switch {
	case !c.lingerEnd.IsZero():
		c.boundLingering()
	case c.stopped() != nil:
		c.conn.SetReadDeadline(past)
	default:
		c.conn.SetReadDeadline(c.firstInput())
	}
}

// connMember is a Conn as a member of its set.
type connMember Conn

func (m *connMember) shared() *life { return &m.life }

func (m *connMember) live() Live { return (*Conn)(m).live() }

func (m *connMember) closeAs(reason Reason, mode CloseMode) { (*Conn)(m).closeAs(reason, mode) }

// Drain implements drain.Member.
func (m *connMember) Drain() (busy bool) {
	m.flags.set(draining)
	return (*Conn)(m).Busy() || time.Now().Before((*Conn)(m).firstInput())
}

// Wake implements drain.Member.
func (m *connMember) Wake() { (*Conn)(m).wake() }

// Cut implements drain.Member.
func (m *connMember) Cut() bool {
	if !m.endCut() {
		return false
	}
	netconn.Reset(m.conn)
	return true
}
