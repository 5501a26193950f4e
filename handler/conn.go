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

	"wireline/internal/netconn"
	"wireline/lib/sync/wait"
)

// past is a deadline that interrupts a Read in progress and every later one.
var past = time.Unix(1, 0)

// flushTimeout bounds the wait for writes in flight before a close, where no
// write time-out does.
const flushTimeout = 10 * time.Second

// Conn is a connection that a plain handler reads and writes for itself. It is
// a net.Conn that counts its bytes, and that a drain can interrupt: a client is
// idle while a Read waits, and busy from then to the next Read.
type Conn struct {
	client   *Client
	conn     net.Conn
	owner    *Clients
	mode     CloseMode // the server's
	inflight wait.Wait

	mu        sync.Mutex    // orders SetReadDeadline and wake
	lingered  chan struct{} // closed when a lingering close is over; nil before it
	lingerEnd time.Time     // its end; nobody is to be woken
	eof       atomic.Bool   // the client has sent its FIN
}

func newConn(ctx context.Context, conn net.Conn, mode CloseMode, owner *Clients) *Conn {
	c := &Conn{client: &Client{ctx: ctx, begin: now()}, conn: conn, mode: mode, owner: owner}
	c.client.wire = c
	c.client.opened.Store(true)
	c.client.busy = true // until it reads: it may greet first
	return c
}

// Client returns the client whose connection this is.
func (c *Conn) Client() *Client { return c.client }

// NetConn returns the connection underneath. What is read and written there is
// not counted.
func (c *Conn) NetConn() net.Conn { return c.conn }

// Read implements net.Conn. In a drain it returns ErrDraining, after
// Client.Close it returns net.ErrClosed.
func (c *Conn) Read(p []byte) (int, error) {
	client := c.client
	client.setBusy(false)
	if err := c.stopped(); err != nil {
		return 0, err
	}
	n, err := c.conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if stopped := c.stopped(); stopped != nil {
			return n, stopped
		}
	}
	client.mu.Lock()
	client.busy = true
	client.count.bytesIn += int64(n)
	client.mu.Unlock()
	switch {
	case err == io.EOF:
		c.eof.Store(true)
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		client.endIO(err)
	}
	return n, err
}

// stopped returns why no more is to be read, if so.
func (c *Conn) stopped() error {
	switch {
	case c.client.draining.Load():
		return ErrDraining
	case c.client.reason() == Closed:
		return net.ErrClosed
	}
	return nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	client := c.client
	c.inflight.Add(1)
	defer c.inflight.Done()
	n, err := c.conn.Write(p)
	client.mu.Lock()
	client.count.bytesOut += int64(n)
	client.count.framesOut++
	client.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		client.endIO(err)
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom. From a socket to a socket it is as package net
// has it, by splice(2) on Linux: then the bytes are counted when it returns, and a
// handler that returns meanwhile does not wait for it.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	to, ok := bare(c.conn).(io.ReaderFrom)
	if !ok || !isSocket(r) && !isHandedOn(r) || !isSocket(c.conn) {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	n, err := to.ReadFrom(bare(r))
	c.noteBreak(err, "write")
	c.client.mu.Lock()
	c.client.count.bytesOut += n
	c.client.count.framesOut++
	c.client.mu.Unlock()
	return n, err
}

// WriteTo implements io.WriterTo, in the same way. Between two sockets the client counts
// as idle meanwhile: a drain ends it between two reads, with ErrDraining.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	if !isSocket(w) || !isSocket(c.conn) {
		return io.Copy(w, struct{ io.Reader }{c})
	}
	c.client.setBusy(false)
	if err := c.stopped(); err != nil {
		return 0, err
	}
	n, err := io.Copy(bare(w), bare(c.conn))
	switch stopped := c.stopped(); {
	case err == nil:
		c.eof.Store(true)
	case errors.Is(err, os.ErrDeadlineExceeded) && stopped != nil:
		err = stopped
	default:
		c.noteBreak(err, "read")
	}
	c.client.mu.Lock()
	c.client.busy = true
	c.client.count.bytesIn += n
	c.client.mu.Unlock()
	return n, err
}

// noteBreak notes an end that a copy between two sockets tells of, if it was this
// connection that broke. On Linux only the system knows which of the two it was;
// elsewhere err names what has failed, op if it was this one.
func (c *Conn) noteBreak(err error, op string) {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if netconn.Gone(c.conn) || failedOp(err) == op {
		c.client.endIO(err)
	}
}

// failedOp is the innermost operation of package net that err is of.
func failedOp(err error) (name string) {
	for op := (*net.OpError)(nil); errors.As(err, &op); err = op.Err {
		name = op.Op
	}
	return name
}

// bare is conn, or the socket of package net's in it where that is the same but for its
// addresses, as a server has them that was told others. Package net looks into no
// wrapper.
func bare[T any](conn T) T {
	if in, ok := any(conn).(interface{ Socket() net.Conn }); ok {
		if s, ok := in.Socket().(T); ok {
			return s
		}
	}
	return conn
}

// isSocket reports whether v is a socket as package net has it, or a Conn on one.
func isSocket(v any) bool {
	switch v := bare(v).(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *Conn:
		return isSocket(v.conn)
	}
	return false
}

// isHandedOn reports whether r is a *net.TCPConn in the type, package net's own, in which
// its WriteTo hands it on: that is how io.Copy comes with it.
func isHandedOn(r io.Reader) bool {
	_, ok := r.(interface{ MultipathTCP() (bool, error) })
	return ok
}

// Close implements net.Conn. It also takes the client out of its set and
// writes its record. How it closes is Client.CloseWith's word, or else the server's; it
// may wait for that.
func (c *Conn) Close() error {
	c.noteEnd()
	err := c.close()
	c.owner.remove(c.client)
	return err
}

// close closes the connection as its end demands. Where the handler closes it for
// itself, it lingers only if that is how connections are to be closed.
func (c *Conn) close() error {
	mode, _ := c.client.closeMode()
	switch how := c.client.parting(); {
	case how == withRST:
		return netconn.Reset(c.conn)
	case how == withDiscard && mode == CloseLingering:
		c.awaitFIN(lingerTime)
	case how == silent:
		c.CloseWrite() // so that a FIN comes first, if the close makes a RST
	}
	return c.client.conclude(c.conn)
}

// awaitFIN sends the FIN, then reads and discards until the client's, within limit. Who
// comes second waits for the first.
func (c *Conn) awaitFIN(limit time.Duration) {
	c.mu.Lock()
	others := c.lingered
	if others == nil {
		c.lingered = make(chan struct{})
	}
	c.mu.Unlock()
	if others != nil {
		<-others
		return
	}
	defer close(c.lingered)
	if c.CloseWrite() != nil {
		return
	}
	c.mu.Lock()
	c.lingerEnd = time.Now().Add(limit)
	c.boundLingering()
	c.mu.Unlock()
	netconn.AwaitFIN(c.conn)
}

// boundLingering, under mu, sets the deadline of a lingering close: its end, which a
// drain brings nearer.
func (c *Conn) boundLingering() {
	if soon := time.Now().Add(lingerDrain); c.client.draining.Load() && soon.Before(c.lingerEnd) {
		c.lingerEnd = soon
	}
	c.conn.SetReadDeadline(c.lingerEnd)
}

// noteEnd notes why a connection ends that nothing happened to.
func (c *Conn) noteEnd() {
	switch {
	case c.eof.Load():
		c.client.end(ByClient, FIN, nil)
	case c.client.draining.Load():
		c.client.end(ByServer, Drain, nil)
	default:
		c.client.end(ByServer, Closed, nil)
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

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
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
		c.client.abort(ByServer, WriteTimeout, errWriteTimeout)
	}
	c.noteEnd()
	switch mode, _ := c.client.closeMode(); c.client.parting() {
	case silent, withDiscard:
		limit := lingerDrain
		if mode == CloseLingering {
			limit = lingerTime
		}
		c.awaitFIN(limit)
	}
	c.Close()
}

// The wire of a plain handler's client.

func (c *Conn) addrs() (local, remote net.Addr) {
	return c.conn.LocalAddr(), c.conn.RemoteAddr()
}

func (c *Conn) serverMode() CloseMode { return c.mode }

func (c *Conn) endBatch(_, _ int64) {} // there are none

func (c *Conn) tryWrite([3][]byte) (int, error) { return 0, errWouldBlock }

func (c *Conn) write(p []byte) (int, error) { return c.Write(p) }

func (c *Conn) touch()      {}
func (c *Conn) last() int64 { return 0 }
func (c *Conn) now() int64  { return 0 }

func (c *Conn) writers() *wait.Wait { return &c.inflight }

func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lingerEnd.IsZero() {
		c.conn.SetReadDeadline(past)
	} else {
		c.boundLingering()
	}
}

func (c *Conn) resume() {}

func (c *Conn) reset() { netconn.Reset(c.conn) }
