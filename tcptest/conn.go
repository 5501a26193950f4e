package tcptest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBuffer is how many bytes a connection holds in each direction, unless
// the caller says otherwise.
const DefaultBuffer = 64 << 10

// Conn is one end of a connection in memory. [Pipe], [PipeSize] and
// [Listener] make it; the zero value is of no use.
//
// All methods may be called from several goroutines at the same time. The bytes
// of one Write are never mixed with those of another. A Conn has no goroutine.
// It need not be closed to be collected; a deadline that is still to come holds
// it until then.
//
// Read returns a bare [io.EOF]; every other error is a [*net.OpError] that wraps
// what a TCP connection's would: [net.ErrClosed], [os.ErrDeadlineExceeded],
// [syscall.ECONNRESET], [syscall.EPIPE] or [syscall.ENOTCONN].
//
// After a reset by the peer, what had been received can still be read. Then one
// call, be it a Read or a Write, fails with ECONNRESET; from there on Read
// returns io.EOF, Write EPIPE, and CloseRead and CloseWrite ENOTCONN. If the
// peer's FIN came before its reset, Read knows only of the FIN, and the first
// Write fails with EPIPE. All that is the doing of Linux; [Conn.WasReset] tells
// without a side effect.
type Conn struct {
	mu            *sync.Mutex // shared with peer; guards all of the connection
	peer          *Conn
	local, remote *net.TCPAddr

	in, out                     *half // the peer's out and in
	readDeadline, writeDeadline deadline

	closed  bool
	linger0 bool          // Close resets
	reset   bool          // an RST has arrived
	pending syscall.Errno // what the RST leaves for the next call to return
}

var _ net.Conn = (*Conn)(nil)

// Pipe returns the two ends of a connection that holds [DefaultBuffer] bytes in
// each direction.
func Pipe() (client, server *Conn) {
	return PipeSize(DefaultBuffer)
}

// PipeSize returns the two ends of a connection that holds buffer bytes in each
// direction; zero or less means [DefaultBuffer]. A small one makes a slow reader
// felt at once: with 1, every byte waits until the one before it has been read.
func PipeSize(buffer int) (client, server *Conn) {
	return newPair(nextAddr(clientIP), nextAddr(serverIP), buffer)
}

func newPair(clientAddr, serverAddr *net.TCPAddr, size int) (client, server *Conn) {
	if size <= 0 {
		size = DefaultBuffer
	}
	mu := new(sync.Mutex)
	up, down := newHalf(mu, size), newHalf(mu, size)
	client = &Conn{mu: mu, local: clientAddr, remote: serverAddr, in: down, out: up}
	server = &Conn{mu: mu, local: serverAddr, remote: clientAddr, in: up, out: down}
	client.peer, server.peer = server, client
	return client, server
}

// Read waits until something has been received and moves as much of it to b as
// fits. It returns [io.EOF] when the peer has shut down its direction and
// everything has been read. An empty b is filled at once, whatever has happened
// to the connection, unless this end is closed.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.read(b)
	if err == io.EOF {
		return n, err
	}
	return n, c.opError("read", err)
}

// read asks in the order of Linux, where the pending error comes after what is
// buffered and after a FIN, but before the end that CloseRead makes
// (tcp_recvmsg_locked in net/ipv4/tcp.c).
func (c *Conn) read(b []byte) (int, error) {
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case len(b) == 0:
			return 0, nil
		case c.readDeadline.passed():
			return 0, os.ErrDeadlineExceeded
		case c.in.buf.Len() > 0:
			return c.in.take(b), nil
		case c.in.fin:
			return 0, io.EOF
		case c.pending != 0:
			return 0, os.NewSyscallError("read", c.takePending())
		case c.in.shut || c.reset:
			return 0, io.EOF
		}
		c.in.changed.Wait()
	}
}

// Write returns when all of b is in the buffer, from where the peer reads it.
// It waits for room. When it fails, n is how much of b the peer can read.
//
// The first Write after the peer's Close succeeds, because only the answer to it
// tells of the close: the bytes are lost, and an RST comes back. An empty b
// fails like any other where the connection is broken, but needs no room.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A Write that waits for its turn need not look at anything else: what
	// would end it ends the one before it.
	for c.out.writing {
		c.out.changed.Wait()
	}
	c.out.writing = true
	n, err = c.write(b)
	c.out.writing = false
	c.out.changed.Broadcast()
	return n, c.opError("write", err)
}

func (c *Conn) write(b []byte) (n int, err error) {
	for {
		switch {
		case c.closed:
			return n, net.ErrClosed
		case c.writeDeadline.passed():
			return n, os.ErrDeadlineExceeded
		case c.pending != 0:
			return n, os.NewSyscallError("write", c.takePending())
		case c.out.fin || c.reset:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		}
		n += c.send(b[n:])
		if n == len(b) {
			return n, nil
		}
		c.out.changed.Wait()
	}
}

// send hands b to the peer and returns how much of it is dealt with. A peer that
// has shut down both directions, which Close does too, has no use for it: the
// connection is aborted (RFC 9293, 3.6.1), on the peer's side as well if it is
// still open.
func (c *Conn) send(b []byte) int {
	if len(b) > 0 && c.out.shut && c.in.fin {
		c.peer.receiveReset()
		c.receiveReset()
		return len(b)
	}
	return c.out.put(b)
}

// CloseWrite shuts down the direction to the peer, which reads what is buffered
// and then io.EOF. The other direction goes on. A Write that is under way fails
// with EPIPE. After a reset, or when both ends have shut down their direction,
// CloseWrite fails with ENOTCONN.
func (c *Conn) CloseWrite() error {
	return c.shutdown(func() { c.out.fin = true })
}

// CloseRead shuts down the direction from the peer, as shutdown with SHUT_RD
// does on Linux: a Read that would wait returns io.EOF, but what has been
// received, now or later, can be read. The peer does not notice, until the
// buffer is full, or it writes after this end has called CloseWrite too: that
// resets the connection. It fails with ENOTCONN where CloseWrite does.
func (c *Conn) CloseRead() error {
	return c.shutdown(func() { c.in.shut = true })
}

func (c *Conn) shutdown(mark func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return c.opError("close", net.ErrClosed)
	case c.over():
		return c.opError("close", os.NewSyscallError("shutdown", syscall.ENOTCONN))
	}
	mark()
	c.wake()
	return nil
}

// over reports whether TCP is done with the connection (the state CLOSED or
// TIME-WAIT): it was reset, or both ends have sent their FIN.
func (c *Conn) over() bool {
	return c.reset || c.in.fin && c.out.fin
}

// Close closes this end. Calls that wait in it fail with [net.ErrClosed], and so
// does every later one, Close included.
//
// The peer reads what is buffered, then io.EOF: it has got a FIN. But if this
// end has not read everything that it received, or after SetLinger(0), the peer
// gets an RST (RFC 9293, 3.6.1; RFC 2525, 2.17).
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.close(c.linger0 || c.in.buf.Len() > 0)
}

// Reset closes this end as Close does after SetLinger(0): the peer gets an RST,
// and reads [syscall.ECONNRESET] after what it has received. A Write of this end
// that is under way stops where it is.
func (c *Conn) Reset() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.close(true)
}

func (c *Conn) close(rst bool) error {
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	if rst {
		c.peer.receiveReset()
	} else {
		c.out.fin = true
	}
	c.in.shut = true
	c.in.buf = bytes.Buffer{}
	c.readDeadline.stop()
	c.writeDeadline.stop()
	c.wake()
	return nil
}

// receiveReset notes an RST from the peer. The error that it leaves depends on
// the state, as in tcp_reset of Linux (net/ipv4/tcp_input.c).
func (c *Conn) receiveReset() {
	if c.closed || c.over() {
		return
	}
	c.reset = true
	c.pending = syscall.ECONNRESET
	if c.in.fin {
		c.pending = syscall.EPIPE
	}
	c.wake()
}

// takePending returns the pending error and clears it: the kernel, too, tells of
// it once.
func (c *Conn) takePending() error {
	err := c.pending
	c.pending = 0
	return err
}

// WasReset reports whether this end has got an RST before it was closed. It
// leaves the error that tells of the RST to the next Read or Write.
func (c *Conn) WasReset() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reset
}

// wake lets all calls that wait in either end look again.
func (c *Conn) wake() {
	c.in.changed.Broadcast()
	c.out.changed.Broadcast()
}

// SetLinger sets what Close does with what the peer has not yet read. With zero
// the next Close is a [Conn.Reset]; with any other value, as at first, the peer
// can read it.
func (c *Conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	c.linger0 = sec == 0
	return nil
}

// SetDeadline sets the deadlines of both Read and Write.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.readDeadline, &c.writeDeadline)
}

// SetReadDeadline sets the time at which calls of Read, those that wait
// included, start to fail with [os.ErrDeadlineExceeded], also when something
// could be read. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.readDeadline)
}

// SetWriteDeadline sets the time at which calls of Write, those that wait
// included, start to fail with [os.ErrDeadlineExceeded]. A Write may have been
// done in part by then. The zero time means never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.writeDeadline)
}

func (c *Conn) setDeadlines(t time.Time, deadlines ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return &net.OpError{Op: "set", Net: network, Addr: c.local, Err: net.ErrClosed}
	}
	for _, d := range deadlines {
		d.set(t, c.deadlinePassed)
	}
	c.wake()
	return nil
}

func (c *Conn) deadlinePassed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake()
}

// LocalAddr returns the address of this end, a [*net.TCPAddr].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the peer, a [*net.TCPAddr].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// network is what errors name, as code under test may look at it.
const network = "tcp"

func (c *Conn) opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}
