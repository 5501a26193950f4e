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
// no time-out, limit or drain, of the handler or of the server, counts or touches
// it any more, and its record is written. On an error the connection stays with
// the handler.
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
	if err := s.handOver(); err != nil {
		return nil, nil, err
	}
	if s.in != nil {
		buffered = slices.Clone(s.in.Bytes())
	}
	c.countIn(s.bytesIn, s.framesIn)
	s.bytesIn, s.framesIn = 0, 0
	if release, ok := c.ctx.Value(releaseKey{}).(func()); ok {
		release()
	}
	c.owner.remove(c)
	return s.conn, buffered, nil
}

// handOver sends what is pending and cuts the connection's ties to the client.
func (s *stream) handOver() error {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flushAllLocked(); err != nil {
		return err
	}
	for c.out.flushing { // somebody who pushes at this moment
		c.out.changed.Wait()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.end(ByServer, Hijacked, nil)
	if c.reason() != Hijacked {
		return ErrClosed
	}
	c.out.err = ErrHijacked
	s.hijacked = true
	s.conn.SetDeadline(time.Time{}) // fails only on a closed connection, as its new owner will see
	return nil
}
