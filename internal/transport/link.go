package transport

import (
	"io"
	"net"
	"time"

	"wireline/internal/eventloop"
)

// link is a TLS as the net.Conn beneath its tls.Conn. It carries ciphertext.
//
// It waits, as any net.Conn does, while the connection is not on a poller: in the handshake
// of a server, and after a handler has given up the connection. On a poller it never waits: a
// Read that would have to fails with errWouldBlock, which crypto/tls takes for a timeout and
// does not keep, and a Write queues what the connection does not accept.
type link TLS

// errWouldBlock is what crypto/tls gets when nothing more has arrived. It does not keep an error
// that is Temporary, and continues the record at the next Read (crypto/tls/conn.go,
// readRecordOrCCS).
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "transport: nothing has arrived" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Read implements net.Conn.
func (l *link) Read(p []byte) (n int, err error) {
	switch {
	case l.poll != nil:
		n, err = l.readPolled(p)
	case l.peeking:
		n, err = l.readNow(p)
	default:
		n, err = l.readBlocking(p)
	}
	l.records.pass(p[:n])
	return n, err
}

func (l *link) readBlocking(p []byte) (n int, err error) {
	if n = l.takeRest(p); n > 0 {
		return n, nil
	}
	if l.base == nil {
		return 0, net.ErrClosed
	}
	return l.base.Read(p)
}

// takeRest returns what the last poller had read.
func (l *link) takeRest(p []byte) (n int) {
	if l.rare == nil || len(l.rare.rest) == 0 {
		return 0
	}
	r := l.rare
	n = copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n
}

func (l *link) readPolled(p []byte) (n int, err error) {
	if l.drained && !l.hangup || (*TLS)(l).queueIsFull() {
		return 0, errWouldBlock
	}
	if n = l.takeRest(p); n > 0 {
		l.arrived = true
		return n, nil
	}
	read := l.poll.Read
	if l.looking {
		read = l.poll.Look
	}
	n, l.drained, err = read(p)
	switch {
	case n > 0:
		l.arrived = true
		return n, nil
	case err == io.EOF:
		l.eof = true
		return 0, io.EOF
	case err != nil:
		(*TLS)(l).rarely().broken = err
		return 0, err
	}
	return 0, errWouldBlock
}

// Write implements net.Conn. On a poller it is called with crypto/tls's lock of the output:
// by Write of a TLS, and by Read, for an alert or the answer to a KeyUpdate.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.peeking:
		(*TLS)(l).enqueue(p)
		return len(p), nil
	case l.poll == nil:
		return l.writeBlocking(p)
	}
	if l.ended {
		// An alert, or the answer to a KeyUpdate. If that failed, crypto/tls would not change
		// the keys of what is read either.
		return len(p), nil
	}
	if l.writeErr != nil {
		return 0, l.writeErr
	}
	if l.corked || (*TLS)(l).queued() > 0 {
		(*TLS)(l).enqueue(p)
		return len(p), nil
	}
	n, err := l.poll.Write([3][]byte{p})
	if err != nil {
		l.writeErr = err
		return n, err
	}
	(*TLS)(l).enqueue(p[n:])
	if n < len(p) && !l.writing {
		l.writeErr = l.poll.WatchOut(false)
	}
	return len(p), nil
}

// writeBlocking sends what the poller has left in the queue first.
func (l *link) writeBlocking(p []byte) (int, error) {
	for (*TLS)(l).queued() > 0 {
		n, err := l.base.Write(l.queue.Head())
		l.queue.Take(n)
		if err != nil {
			return 0, err
		}
	}
	return l.base.Write(p)
}

// Close implements net.Conn. On a poller it does nothing: Close of the TLS closes the
// connection.
func (l *link) Close() error {
	if l.poll != nil || l.base == nil {
		return nil
	}
	return l.base.Close()
}

// LocalAddr implements net.Conn.
func (l *link) LocalAddr() net.Addr {
	if l.base == nil {
		return unknown
	}
	return l.base.LocalAddr()
}

// RemoteAddr implements net.Conn. crypto/tls asks for it when a client without a server name
// receives a session ticket.
func (l *link) RemoteAddr() net.Addr {
	if l.base == nil {
		return unknown
	}
	return l.base.RemoteAddr()
}

// unknown is the address of a link without a connection beneath.
var unknown net.Addr = &net.UnixAddr{Name: "unknown", Net: "unix"}

// SetDeadline implements net.Conn. On a poller there are no deadlines: crypto/tls sets one to
// send a close_notify, and a past one after that.
func (l *link) SetDeadline(t time.Time) error {
	if l.poll != nil || l.base == nil {
		return nil
	}
	return l.base.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (l *link) SetReadDeadline(t time.Time) error {
	if l.poll != nil || l.base == nil {
		return nil
	}
	return l.base.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (l *link) SetWriteDeadline(t time.Time) error {
	if l.poll != nil || l.base == nil {
		return nil
	}
	if l.hasty {
		t = time.Now().Add(hastyTime)
	}
	return l.base.SetWriteDeadline(t)
}

// NetConn returns the connection beneath.
func (l *link) NetConn() net.Conn { return l.base }

var _ net.Conn = (*link)(nil)
var _ eventloop.Transport = (*TLS)(nil)
