package handler

import (
	"errors"
	"net"
	"slices"

	"wireline/internal/eventloop"
	"wireline/internal/transport"
)

// ErrHijacked is returned by the methods of a client after Hijack.
var ErrHijacked = errors.New("handler: connection hijacked")

// Hijack takes the connection over from the handler. It sends pending output, then
// returns the connection, without deadlines, and the bytes that were read from it but
// not served. The caller owns both from then on. The handler and the server no longer
// count the connection, and their timeouts, limits and drains do not affect it. Its
// record is written. On error, the connection stays with the handler. If the new owner is another
// handler, see ServeConn.
//
// Hijack may be called only in OnFrame and OnOpen. Afterwards only Value, Record and
// Context of the Client may be used. The context that c.Context has returned before ends with
// ErrHijacked as its cause; from then on it returns that of the server, for the new owner. OnFrame is not called again. OnClose is called after the
// function that called Hijack has returned.
//
// A Handler that wraps a Frames must implement Acceptor and pass Accept on, or Hijack
// does not work: the server closes a connection when Handle returns.
func (c *Client) Hijack() (conn net.Conn, buffered []byte, err error) {
	conn, err = c.accepted.Conn()
	if err != nil {
		return nil, nil, err
	}
	_, onLoop := c.conn.(*eventloop.Socket) // then conn is a duplicate with its own descriptor
	if err := c.handOver(); err != nil {
		if onLoop {
			c.dropCopy(conn)
		}
		return nil, nil, err
	}
	if c.in != nil {
		buffered = slices.Clone(c.in.Bytes())
	}
	var rest []byte
	if onLoop {
		c.conn.Close()
	} else {
		rest = c.conn.Remove()
	}
	if t := c.tls(); t != nil {
		if conn != net.Conn(t.Conn()) { // StartTLS has made it
			t.SetBase(conn)
			conn = t.Conn()
		}
		t.Release(rest)
	} else {
		buffered = append(buffered, rest...)
	}
	c.frames.clients.remove((*clientMember)(c))
	c.accepted.Done()
	return conn, buffered, nil
}

// dropCopy closes the duplicate that accepted.Conn has made for a Hijack that has failed.
func (c *Client) dropCopy(conn net.Conn) {
	if t := transport.Of(c.accepted.TLS()); t != nil {
		conn = t.Base() // a tls.Conn on a poller does not close it
	}
	conn.Close()
}

// handOver sends pending output, and detaches the connection from the client.
func (c *Client) handOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.sending & shut
	c.sending.set(shut) // otherwise part of a message could be sent after the new owner's bytes
	for c.out != nil && c.out.Size() > 0 && !c.sending.has(failed) {
		if c.sending.has(blocked) {
			c.out.wait()
		} else {
			c.flushLocked(false)
		}
	}
	for t := c.tls(); t != nil && t.Queued() && !c.sending.has(failed); {
		// Answers to KeyUpdates. The new owner would not know what of them is sent.
		o := c.outputLocked()
		if !c.sending.has(blocked) {
			if err := c.blockLocked(o, false); err != nil {
				c.writeFailedLocked(err)
				break
			}
		}
		o.wait()
	}
	if err := c.failureLocked(); err != nil {
		c.sending = c.sending&^shut | was
		return err
	}
	c.end(ByServer, ReasonHijacked, nil)
	if c.reason() != ReasonHijacked {
		return ErrClosed // it had already ended
	}
	c.failLocked(ErrHijacked)
	c.sending.set(takenOver | gone)
	c.countInLocked()
	return nil
}
