package handler

import (
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// ErrHijacked is what a client's methods return once its connection was taken
// over.
var ErrHijacked = errors.New("handler: connection hijacked")

// Hijack takes the connection out of the handler's hands. It returns it, with
// no deadlines set, and the bytes that were read from it and not yet served;
// what was written before is sent. The caller owns the connection from now on:
// no time-out, limit or drain, of the handler or of the server, counts or touches
// it any more, and its record is written. On an error the connection stays with
// the handler.
//
// Hijack may be called from Serve and OnOpen only. The Client is of no more use
// then but for Value and Record; Serve is not called again, OnClose is, when
// the function that called Hijack has returned. The client of a plain handler
// has nothing to hijack: errors.ErrUnsupported.
func (c *Client) Hijack() (conn net.Conn, buffered []byte, err error) {
	w, ok := c.wire.(hijacker)
	if !ok {
		return nil, nil, errors.ErrUnsupported
	}
	if conn, buffered, err = w.hijack(); err != nil {
		return nil, nil, err
	}
	c.owner().remove(c)
	return conn, buffered, nil
}

// hijacker is a wire whose connection can be taken over.
type hijacker interface {
	hijack() (conn net.Conn, buffered []byte, err error)
}

func (s *stream) hijack() (net.Conn, []byte, error) {
	if err := s.client.handOver(&s.mu, &s.hijacked); err != nil {
		return nil, nil, err
	}
	s.conn.SetDeadline(time.Time{}) // fails only on a closed connection, as its new owner will see
	s.accepted.Done()
	return s.conn, s.client.unserved(), nil
}

// handOver sends what is pending and cuts the connection's ties to the client:
// it sets hijacked, under mu.
func (c *Client) handOver(mu *sync.Mutex, hijacked *bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.shut
	c.shut = true // or a message could come in half before its new owner's bytes
	if err := c.flushAllLocked(); err != nil {
		c.shut = was
		return err
	}
	for c.out != nil && c.out.flushing { // somebody who pushes at this moment
		c.out.wait()
	}
	mu.Lock()
	defer mu.Unlock()
	c.end(ByServer, Hijacked, nil)
	if c.reason() != Hijacked {
		return ErrClosed // it had its end already
	}
	c.fail = ErrHijacked
	*hijacked = true
	return nil
}

// unserved returns what was read and not served, and counts it.
func (c *Client) unserved() (b []byte) {
	if c.in != nil {
		b = slices.Clone(c.in.Bytes())
	}
	c.countIn(c.bytesIn, c.framesIn)
	c.bytesIn, c.framesIn = 0, 0
	return b
}
