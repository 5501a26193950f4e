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
	"wireline/internal/netconn"
	"wireline/lib/sync/wait"
)

// past is a deadline that interrupts a Read in progress and every later one.
var past = time.Unix(1, 0)

// Conn is a connection that a plain handler reads and writes for itself. It is
// a net.Conn that counts its bytes, and that a drain can interrupt: a client is
// idle while a Read waits, and busy from then to the next Read.
type Conn struct {
	// Value is the user's own, for what belongs to this connection.
	Value any

	life
	conn     net.Conn
	owner    *Conns
	inflight wait.Wait // writes
	busy     bool      // under life's mu

	deadlines sync.Mutex    // orders SetReadDeadline and wake, and guards what is below
	lingered  chan struct{} // closed when a lingering close is over; nil before it
	lingerEnd time.Time     // its end; nobody is to be woken
	eof       atomic.Bool   // the client has sent its FIN
}

func newConn(a Accepted, conn net.Conn, owner *Conns) *Conn {
	c := &Conn{conn: conn, owner: owner}
	c.accepted, c.begin = a, now()
	c.busy = true // until it reads: it may greet first
	return c
}

// serve calls f, and closes the connection. Whoever calls it deals with a panic.
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

// NetConn returns the connection underneath. What is read and written there is
// not counted.
func (c *Conn) NetConn() net.Conn { return c.conn }

func (c *Conn) setBusy(busy bool) {
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
}

// Busy reports whether the handler is between two reads, and not waiting for the client.
func (c *Conn) Busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy
}

// Quit asks for the connection's end and returns at once: Read returns net.ErrClosed from
// now on, and the connection is closed when the handler's function has returned.
func (c *Conn) Quit() {
	c.end(ByServer, ReasonClosed, nil)
	c.wake()
}

// CloseWith is Quit with a mode of its own for this connection, in the place of the
// server's. CloseReset does not wait for the function: the connection is reset at once.
func (c *Conn) CloseWith(mode CloseMode) error {
	c.ending.CompareAndSwap(nil, &ending{by: ByServer, reason: ReasonClosed, mode: mode, asked: true})
	if mode == CloseReset {
		netconn.Reset(c.conn)
	} else {
		c.wake()
	}
	return nil
}

// Read implements net.Conn. In a drain it returns ErrDraining, after
// Client.Close it returns net.ErrClosed.
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
	c.count.bytesIn += int64(n)
	c.mu.Unlock()
	switch {
	case err == io.EOF:
		c.eof.Store(true)
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		c.endIO(err)
	}
	return n, err
}

// stopped returns why no more is to be read, if so.
func (c *Conn) stopped() error {
	switch {
	case c.flags.has(draining):
		return ErrDraining
	case c.reason() == ReasonClosed:
		return net.ErrClosed
	}
	return nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.inflight.Add(1)
	defer c.inflight.Done()
	n, err := c.conn.Write(p)
	c.mu.Lock()
	c.count.bytesOut += int64(n)
	c.count.framesOut++
	c.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.endIO(err)
	}
	return n, err
}

// Close implements net.Conn. It also takes the connection out of its set and writes its
// record. It closes as CloseWith has said, or else as the server does; it may wait for
// that.
func (c *Conn) Close() error {
	c.noteEnd()
	err := c.close()
	c.owner.remove((*connMember)(c))
	return err
}

// close closes the connection as its end demands. Where the handler closes it for
// itself, it lingers only if that is how connections are to be closed.
func (c *Conn) close() error {
	mode, _ := c.closeMode()
	how, bound := c.howToClose()
	switch {
	case how == closing.Reset:
		return netconn.Reset(c.conn)
	case how == closing.Linger && mode == CloseLingering:
		c.awaitFIN(closing.LongLinger)
	case how == closing.Quiet:
		c.CloseWrite() // so that a FIN comes first, if the close makes a RST
	}
	if bound > 0 {
		return netconn.CloseWithin(c.conn, bound)
	}
	if c.accepted.CloseMode().setsLinger() {
		netconn.SetLinger(c.conn, -1)
	}
	return c.conn.Close()
}

// awaitFIN sends the FIN, then reads and discards until the client's, within limit. A
// second call waits for the first.
func (c *Conn) awaitFIN(limit time.Duration) {
	c.deadlines.Lock()
	others := c.lingered
	if others == nil {
		c.lingered = make(chan struct{})
	}
	c.deadlines.Unlock()
	if others != nil {
		<-others
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

// boundLingering, under the lock deadlines, sets the deadline of a lingering close: its end, which a
// drain brings nearer.
func (c *Conn) boundLingering() {
	if soon := time.Now().Add(closing.ShortLinger); c.flags.has(draining) && soon.Before(c.lingerEnd) {
		c.lingerEnd = soon
	}
	c.conn.SetReadDeadline(c.lingerEnd)
}

// noteEnd notes why a connection ends that nothing happened to.
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

// CloseWrite sends a FIN and leaves the other direction open. A connection that
// cannot do so returns errors.ErrUnsupported.
func (c *Conn) CloseWrite() error { return netconn.CloseWrite(c.conn) }

// CloseRead discards what comes from now on. A connection that cannot do so returns
// errors.ErrUnsupported.
func (c *Conn) CloseRead() error {
	if half, ok := c.conn.(interface{ CloseRead() error }); ok {
		return half.CloseRead()
	}
	return errors.ErrUnsupported
}

// SyscallConn implements syscall.Conn. A connection without a file descriptor whose
// bytes are its own, as under TLS, returns errors.ErrUnsupported. What is read and
// written there is not counted.
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

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.stopped() != nil {
		return nil // the drain's own deadline stays
	}
	return c.conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

// finish closes the connection when its function has returned: once the writes of
// other goroutines are done, and so that the last of them arrives although the
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

// wake interrupts a Read in progress and every later one, so that it looks at the
// connection's state.
func (c *Conn) wake() {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if c.lingerEnd.IsZero() {
		c.conn.SetReadDeadline(past)
	} else {
		c.boundLingering()
	}
}

// connMember is a Conn in its set.
type connMember Conn

func (m *connMember) shared() *life { return &m.life }

// Drain implements drain.Member.
func (m *connMember) Drain() (busy bool) {
	m.flags.set(draining)
	return (*Conn)(m).Busy()
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
