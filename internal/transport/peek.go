package transport

import (
	"errors"
	"io"

	"wireline/internal/netconn"
)

// maxPeek bounds the ciphertext that one Peek reads. Session tickets and new keys are much
// less.
const maxPeek = 64 << 10

// errPeekedTooMuch is why a connection is not idle on which more arrives than maxPeek at once.
var errPeekedTooMuch = errors.New("TLS: too much has arrived on an idle connection")

// Peek looks at a connection that is on no poller, without waiting. It reads the messages of the
// protocol that have arrived, such as session tickets: that bytes wait on the socket says
// nothing about the plaintext. What it has to send is queued for later. unread tells that there
// is plaintext, or a part of a record; Read returns it when the connection is on a poller. err is
// the end of the stream, or what has broken the connection; errors.ErrUnsupported where the
// connection beneath cannot be read without waiting.
//
// After a Peek that has found plaintext, Read of Conn does not return all of that.
func (t *TLS) Peek() (unread bool, err error) {
	r := t.rarely()
	switch {
	case r.hasAhead:
		return true, nil
	case r.readErr != nil:
		return false, r.readErr
	case !netconn.CanReadNow(t.base):
		return false, errors.ErrUnsupported
	}
	var p [1]byte
	t.peeking, r.peekLeft = true, maxPeek
	n, err := t.conn.Read(p[:])
	t.peeking = false
	switch {
	case n > 0:
		r.ahead, r.hasAhead = p[0], true
		return true, nil
	case err != nil && err != errWouldBlock:
		r.readErr = t.explain(err)
		return false, r.readErr
	case r.peekLeft <= 0, t.queueIsFull():
		return false, errPeekedTooMuch
	}
	return t.records.within(), nil
}

// takeAhead returns what Peek has found.
func (t *TLS) takeAhead(p []byte) (n int) {
	if r := t.rare; r != nil && r.hasAhead {
		p[0], r.hasAhead = r.ahead, false
		n = 1
	}
	return n
}

// readNow is Read of a ciphertextConn within a Peek.
func (c *ciphertextConn) readNow(p []byte) (n int, err error) {
	r := (*TLS)(c).rarely()
	if r.peekLeft <= 0 {
		return 0, errWouldBlock
	}
	n = c.takeRest(p)
	if n == 0 {
		var empty bool
		if n, empty, err = netconn.ReadNow(c.base, p); empty {
			return 0, errWouldBlock
		}
		switch {
		case err == io.EOF:
			c.eof = true
		case err != nil:
			r.broken = err
		}
	}
	r.peekLeft -= n
	return n, err
}
