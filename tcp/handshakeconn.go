package tcp

import (
	"context"
	"net"
)

// handshakeConn is the connection below a handshake. What comes between a Read and the next
// Read or Write is computing, and has a place. After done it is only the net.Conn.
type handshakeConn struct {
	net.Conn
	all  *handshakes // nil after the handshake
	ctx  context.Context
	turn turn
}

func (h *handshakes) conn(ctx context.Context, conn net.Conn) *handshakeConn {
	return &handshakeConn{Conn: conn, all: h, ctx: ctx}
}

// NetConn returns the connection itself; see [tls.Conn.NetConn].
func (c *handshakeConn) NetConn() net.Conn { return c.Conn }

func (c *handshakeConn) Read(b []byte) (int, error) {
	if c.all == nil {
		return c.Conn.Read(b)
	}
	c.all.release(&c.turn)
	n, err := c.Conn.Read(b)
	if err == nil {
		err = c.all.acquire(c.ctx, &c.turn)
	}
	return n, err
}

// Write needs no place afterwards: crypto/tls writes the messages of a flight together, and
// after a flight it waits for the peer's, or has finished.
func (c *handshakeConn) Write(b []byte) (int, error) {
	if c.all != nil {
		c.all.release(&c.turn)
		c.turn.advanced = true
	}
	return c.Conn.Write(b)
}

// done is called after the handshake, by who has made it.
func (c *handshakeConn) done() {
	c.all.release(&c.turn)
	c.all, c.ctx, c.turn = nil, nil, turn{}
}
