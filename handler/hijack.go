package handler

import (
	"errors"
	"net"
	"slices"
	"time"
)

// ErrHijacked is what a client's methods return once its connection was taken
// over.
var ErrHijacked = errors.New("handler: connection hijacked")

// Hijack takes the connection out of the handler's hands. It returns it, with
// no deadlines set, and the bytes that were read from it and not yet served;
// what was written before is sent. The caller owns the connection from now on:
// no time-out, limit or drain of the handler touches it any more.
//
// Hijack may be called from Serve and OnOpen only. The Client is of no more use
// then but for Value and Record; Serve is not called again, OnClose is, when
// the function that called Hijack has returned. The client of a plain handler
// has nothing to hijack: errors.ErrUnsupported.
func (c *Client) Hijack() (conn net.Conn, buffered []byte, err error) {
	s, ok := c.wire.(*stream)
	if !ok {
		return nil, nil, errors.ErrUnsupported
	}
	return s.hijack()
}

func (s *stream) hijack() (net.Conn, []byte, error) {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flushAllLocked(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.end(ByServer, Hijacked, nil)
	if c.reason() != Hijacked {
		return nil, nil, ErrClosed
	}
	c.out.err = ErrHijacked
	s.hijacked = true
	var buffered []byte
	if s.in != nil {
		buffered = slices.Clone(s.in.Bytes())
	}
	return s.conn, buffered, s.conn.SetDeadline(time.Time{})
}
