package handshakes

import (
	"context"
	"net"
)

// Conn is the connection below a handshake. What comes between a Read and the next
// Read or Write is computing, and has a place. After Done it is only the net.Conn.
type Conn struct {
	net.Conn
	all  *Limiter // nil after the handshake
	ctx  context.Context
	turn turn

	hello    *hello // nil while there is nothing left of it
	received bool   // a byte has arrived
}

// Received reports whether the peer has sent a byte. It is for the goroutine that has made
// the handshake.
func (c *Conn) Received() bool { return c.received }

// Conn returns conn for a handshake. The handshake fails if it waits for a place when ctx
// ends. Call Done after it.
func (h *Limiter) Conn(ctx context.Context, conn net.Conn) *Conn {
	return &Conn{Conn: conn, all: h, ctx: ctx}
}

// NetConn returns the connection itself; see [tls.Conn.NetConn].
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	switch {
	case c.all == nil:
		return c.Conn.Read(b)
	case c.hello != nil:
		return c.readHello(b)
	}
	c.all.release(&c.turn)
	n, err := c.Conn.Read(b)
	first := !c.received
	c.received = c.received || n > 0
	if err == nil && first && n == len(b) {
		n, err = c.cutHello(b)
	}
	if err == nil && !c.turn.advanced {
		growStack(0)
	}
	if err == nil {
		err = c.all.acquire(c.ctx, &c.turn)
	}
	return n, err
}

// cutHello looks at b, which the first Read has filled, and returns what is to be read of it now.
func (c *Conn) cutHello(b []byte) (n int, err error) {
	if c.hello, err = cutHello(c.Conn, b); c.hello != nil {
		return c.readHello(b)
	}
	return len(b), err
}

func (c *Conn) readHello(b []byte) (n int, err error) {
	n, err = c.hello.Read(b)
	if len(c.hello.rest) == 0 {
		c.dropHello()
	}
	return n, err
}

func (c *Conn) dropHello() {
	if c.hello != nil {
		c.hello.drop()
		c.hello = nil
	}
}

// Write implements net.Conn. The handshake needs no place afterwards: crypto/tls writes the
// messages of a flight together, and after a flight it waits for the peer's, or has finished.
func (c *Conn) Write(b []byte) (int, error) {
	if c.all != nil {
		c.all.release(&c.turn)
		c.turn.advanced = true
	}
	return c.Conn.Write(b)
}

// Done ends the turn of the handshake. It is called by the goroutine that has made the handshake.
// A second call does nothing.
func (c *Conn) Done() {
	if c.all == nil {
		return
	}
	c.all.release(&c.turn)
	c.dropHello()
	c.all, c.ctx, c.turn = nil, nil, turn{}
}
