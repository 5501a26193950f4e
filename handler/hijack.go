package handler

import (
	"errors"
	"net"
	"slices"

	"wireline/internal/eventloop"
)

// ErrHijacked is what a client's methods return once its connection was taken
// over.
var ErrHijacked = errors.New("handler: connection hijacked")

// Hijack takes the connection out of the handler's hands. It returns it, with
// no deadlines set, and the bytes that were read from it and not yet served;
// what was written before is sent. The caller owns the connection from now on:
// no timeout, limit or drain, of the handler or of the server, counts or touches
// it any more, and its record is written. On an error the connection stays with
// the handler.
//
// Hijack may be called from Serve and OnOpen only. The Client is of no more use
// then but for Value and Record; Serve is not called again, OnClose is, when
// the function that called Hijack has returned.
//
// A Handler of the user's own that wraps a Frames must be an Acceptor for this, and pass
// Accept on. With Handle alone, the server closes the connection when Handle returns.
func (c *Client) Hijack() (conn net.Conn, buffered []byte, err error) {
	conn, err = c.accepted.Conn()
	if err != nil {
		return nil, nil, err
	}
	_, onLoop := c.conn.(*eventloop.Socket) // then conn has a descriptor of its own
	if err := c.handOver(); err != nil {
		if onLoop {
			conn.Close()
		}
		return nil, nil, err
	}
	if c.in != nil {
		buffered = slices.Clone(c.in.Bytes())
	}
	if onLoop {
		c.conn.Close()
	} else {
		buffered = append(buffered, c.conn.Remove()...)
	}
	c.frames.clients.remove((*clientMember)(c))
	c.accepted.Done()
	return conn, buffered, nil
}

// handOver sends what is pending and cuts the connection's ties to the client.
func (c *Client) handOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.sending & shut
	c.sending.set(shut) // or a message could come in half before its new owner's bytes
	for c.out != nil && c.out.Size() > 0 && !c.sending.has(failed) {
		if c.sending.has(blocked) {
			c.out.wait()
		} else {
			c.flushLocked(false)
		}
	}
	if err := c.failureLocked(); err != nil {
		c.sending = c.sending&^shut | was
		return err
	}
	c.end(ByServer, ReasonHijacked, nil)
	if c.reason() != ReasonHijacked {
		return ErrClosed // it had ended already
	}
	c.failLocked(ErrHijacked)
	c.sending.set(takenOver | gone)
	c.count.bytesIn += c.bytesIn
	c.count.framesIn += c.framesIn
	c.bytesIn, c.framesIn = 0, 0
	return nil
}
