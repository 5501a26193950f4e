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

// DefaultBuffer is how many bytes a connection holds in each direction by default.
const DefaultBuffer = 64 << 10

// Conn is one end of a connection in memory. [Pipe], [PipeSize] and [Listener] create
// it; the zero value is not usable.
//
// All methods are safe for concurrent use. The bytes of one Write are never mixed with
// those of another. A Conn has no goroutine. It need not be closed to be garbage
// collected, but a pending deadline keeps it in memory until then.
//
// At the end of the stream, Read returns a bare [io.EOF]. Every other error is a
// [*net.OpError] that wraps the error of a TCP connection: [net.ErrClosed],
// [os.ErrDeadlineExceeded], [syscall.ECONNRESET], [syscall.EPIPE] or
// [syscall.ENOTCONN].
//
// After a reset by the peer, bytes that had arrived can still be read. Then one call,
// Read or Write, fails with ECONNRESET. After that, Read returns io.EOF, Write fails
// with EPIPE, and CloseRead and CloseWrite fail with ENOTCONN. If the FIN of the peer
// came before its reset, Read only sees the FIN, and the first Write fails with EPIPE.
// This is the behaviour of Linux. [Conn.WasReset] reports a reset without a side
// effect.
type Conn struct {
	mu            *sync.Mutex // shared by both ends; guards the whole connection
	peer          *Conn
	local, remote *net.TCPAddr

	in, out                     *half // the same as out and in of the peer
	readDeadline, writeDeadline deadline

	closed  bool
	linger0 bool          // Close sends a RST
	reset   bool          // a RST has arrived
	pending syscall.Errno // error of the RST, for the next call to return
}

var _ net.Conn = (*Conn)(nil)

// Pipe returns the two ends of a connection that holds [DefaultBuffer] bytes in each
// direction.
func Pipe() (client, server *Conn) {
	return PipeSize(DefaultBuffer)
}

// PipeSize returns the two ends of a connection that holds buffer bytes in each
// direction; zero or less means [DefaultBuffer]. With a small buffer, a slow reader
// blocks the writer soon: with 1, every byte waits until the one before it was read.
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

// Read waits until bytes have arrived, and moves as many of them to b as fit. It
// returns [io.EOF] when the peer has shut down its direction and everything has been
// read. If b is empty, it returns at once without an error, unless this end is closed.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.read(b)
	if err == io.EOF {
		return n, err
	}
	return n, c.opError("read", err)
}

// read checks in the same order as Linux: the pending error comes after buffered bytes
// and after a FIN, but before the end of stream that CloseRead causes
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

// Write returns when all of b is in the buffer, where the peer can read it. It waits
// for room. If it fails, n is how many bytes of b the peer can read.
//
// The first Write after the Close of the peer succeeds, but its bytes are lost: as in
// TCP, only the RST that answers them tells about the close. A Write of no bytes fails
// on a broken connection like any other, but needs no room.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A Write that waits for another one need not check anything else: whatever
	// would end it also ends the other one.
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

// send moves bytes of b to the buffer and returns how many. If the peer has shut down
// both directions, as Close does, the bytes abort the connection (RFC 9293, 3.6.1): a
// RST ends both ends that are still open.
func (c *Conn) send(b []byte) int {
	if len(b) > 0 && c.out.shut && c.in.fin {
		c.peer.receiveReset()
		c.receiveReset()
		return len(b)
	}
	return c.out.put(b)
}

// CloseWrite shuts down the direction to the peer. The peer reads what is buffered,
// then io.EOF. The other direction is not affected. A Write in progress fails with
// EPIPE. After a reset, or when both ends have shut down their direction, CloseWrite
// fails with ENOTCONN.
func (c *Conn) CloseWrite() error {
	return c.shutdown(func() { c.out.fin = true })
}

// CloseRead shuts down the direction from the peer, as shutdown(2) with SHUT_RD does on
// Linux: a Read that would wait returns io.EOF, but bytes that have arrived, or arrive
// later, can be read. The peer does not notice until the buffer is full, or until it
// writes after this end has called CloseWrite too, which resets the connection.
// CloseRead fails with ENOTCONN in the same cases as CloseWrite.
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

// over reports whether TCP has ended the connection (state CLOSED or TIME-WAIT): it was
// reset, or both ends have sent their FIN.
func (c *Conn) over() bool {
	return c.reset || c.in.fin && c.out.fin
}

// Close closes this end. Blocked calls and all later calls, including Close, fail with
// [net.ErrClosed].
//
// The peer reads what is buffered, then io.EOF, because it got a FIN. But if this end
// has not read everything that has arrived, or after SetLinger(0), the peer gets a RST
// (RFC 9293, 3.6.1; RFC 2525, 2.17).
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.close(c.linger0 || c.in.buf.Len() > 0)
}

// Reset closes this end as Close does after SetLinger(0): the peer gets a RST, and
// reads [syscall.ECONNRESET] after the bytes that have arrived. A Write in progress at
// this end stops.
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

// receiveReset handles a RST from the peer. The pending error depends on the state, as
// in tcp_reset of Linux (net/ipv4/tcp_input.c).
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

// takePending returns the pending error and clears it: the kernel reports it only once,
// too.
func (c *Conn) takePending() error {
	err := c.pending
	c.pending = 0
	return err
}

// WasReset reports whether this end got a RST before it was closed. The next Read or
// Write still returns the error of the RST.
func (c *Conn) WasReset() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reset
}

// wake makes all blocked calls of both ends check the state again.
func (c *Conn) wake() {
	c.in.changed.Broadcast()
	c.out.changed.Broadcast()
}

// SetLinger sets what Close does with bytes that the peer has not read. If sec is zero,
// the next Close is a [Conn.Reset]. With any other value, and by default, the peer can
// still read them.
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

// SetReadDeadline sets the time after which all calls of Read, also blocked ones, fail
// with [os.ErrDeadlineExceeded], even if bytes have arrived. The zero time means no
// deadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.readDeadline)
}

// SetWriteDeadline sets the time after which all calls of Write, also blocked ones,
// fail with [os.ErrDeadlineExceeded]. Such a Write may have written a part of its
// bytes. The zero time means no deadline.
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

// network is the network in errors. Code under test may look at it.
const network = "tcp"

func (c *Conn) opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}
