package transport

import (
	"io"
	"net"
	"time"

	"wireline/internal/eventloop"
)

// ciphertextConn is a TLS as the net.Conn beneath its tls.Conn. It carries ciphertext.
//
// It waits, as any net.Conn does, while the connection is not on a poller: in the handshake
// of a server, and after a handler has given up the connection. On a poller it never waits: a
// Read that would have to fails with errWouldBlock, which crypto/tls takes for a timeout and
// does not keep, and a Write queues what the connection does not accept.
type ciphertextConn TLS

// errWouldBlock is what crypto/tls gets when nothing more has arrived. It does not keep an error
// that is Temporary, and continues the record at the next Read (crypto/tls/conn.go,
// readRecordOrCCS).
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "transport: nothing has arrived" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Read implements net.Conn.
func (c *ciphertextConn) Read(p []byte) (n int, err error) {
	switch {
	case c.poll != nil:
		n, err = c.readPolled(p)
	case c.peeking:
		n, err = c.readNow(p)
	default:
		n, err = c.readBlocking(p)
	}
	c.records.pass(p[:n])
	return n, err
}

func (c *ciphertextConn) readBlocking(p []byte) (n int, err error) {
	if n = c.takeRest(p); n > 0 {
		return n, nil
	}
	if c.base == nil {
		return 0, net.ErrClosed
	}
	return c.base.Read(p)
}

// takeRest returns what the last poller had read.
func (c *ciphertextConn) takeRest(p []byte) (n int) {
	if c.rare == nil || len(c.rare.rest) == 0 {
		return 0
	}
	r := c.rare
	n = copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n
}

func (c *ciphertextConn) readPolled(p []byte) (n int, err error) {
	if c.drained && !c.hangup || (*TLS)(c).queueIsFull() {
		return 0, errWouldBlock
	}
	if n = c.takeRest(p); n > 0 {
		c.arrived = true
		return n, nil
	}
	read := c.poll.Read
	if c.looking {
		read = c.poll.Look
	}
	n, c.drained, err = read(p)
	switch {
	case n > 0:
		c.arrived = true
		return n, nil
	case err == io.EOF:
		c.eof = true
		return 0, io.EOF
	case err != nil:
		(*TLS)(c).rarely().broken = err
		return 0, err
	}
	return 0, errWouldBlock
}

// Write implements net.Conn. On a poller it is called with crypto/tls's lock of the output:
// by Write of a TLS, and by Read, for an alert or the answer to a KeyUpdate.
func (c *ciphertextConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.peeking:
		(*TLS)(c).enqueue(p)
		return len(p), nil
	case c.poll == nil:
		return c.writeBlocking(p)
	}
	if c.ended {
		// An alert, or the answer to a KeyUpdate. If that failed, crypto/tls would not change
		// the keys of what is read either.
		return len(p), nil
	}
	if c.writeErr != nil {
		return 0, c.writeErr
	}
	if c.corked || (*TLS)(c).queued() > 0 {
		(*TLS)(c).enqueue(p)
		return len(p), nil
	}
	n, err := c.poll.Write([3][]byte{p})
	if err != nil {
		c.writeErr = err
		return n, err
	}
	(*TLS)(c).enqueue(p[n:])
	if n < len(p) && !c.writing {
		c.writeErr = c.poll.WatchOut(false)
	}
	return len(p), nil
}

// writeBlocking sends what the poller has left in the queue first.
func (c *ciphertextConn) writeBlocking(p []byte) (int, error) {
	for (*TLS)(c).queued() > 0 {
		n, err := c.base.Write(c.queue.Head())
		c.queue.Take(n)
		if err != nil {
			return 0, err
		}
	}
	return c.base.Write(p)
}

// Close implements net.Conn. On a poller it does nothing: Close of the TLS closes the
// connection.
func (c *ciphertextConn) Close() error {
	if c.poll != nil || c.base == nil {
		return nil
	}
	return c.base.Close()
}

// LocalAddr implements net.Conn.
func (c *ciphertextConn) LocalAddr() net.Addr {
	if c.base == nil {
		return unknown
	}
	return c.base.LocalAddr()
}

// RemoteAddr implements net.Conn. crypto/tls asks for it when a client without a server name
// receives a session ticket.
func (c *ciphertextConn) RemoteAddr() net.Addr {
	if c.base == nil {
		return unknown
	}
	return c.base.RemoteAddr()
}

// unknown is the address of a ciphertextConn without a connection beneath.
var unknown net.Addr = &net.UnixAddr{Name: "unknown", Net: "unix"}

// SetDeadline implements net.Conn. On a poller there are no deadlines: crypto/tls sets one to
// send a close_notify, and a past one after that.
func (c *ciphertextConn) SetDeadline(t time.Time) error {
	if c.poll != nil || c.base == nil {
		return nil
	}
	return c.base.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *ciphertextConn) SetReadDeadline(t time.Time) error {
	if c.poll != nil || c.base == nil {
		return nil
	}
	return c.base.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *ciphertextConn) SetWriteDeadline(t time.Time) error {
	if c.poll != nil || c.base == nil {
		return nil
	}
	if c.hasty {
		t = time.Now().Add(hastyTime)
	}
	return c.base.SetWriteDeadline(t)
}

// NetConn returns the connection beneath.
func (c *ciphertextConn) NetConn() net.Conn { return c.base }

var _ net.Conn = (*ciphertextConn)(nil)
var _ eventloop.Transport = (*TLS)(nil)
