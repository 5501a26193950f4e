package proxy

import (
	"context"
	"errors"
	"net"

	"github.com/pires/go-proxyproto"
)

// reached is an upstream, and a connection to it.
type reached struct {
	upstream *upstream
	conn     net.Conn
}

// warm returns a connection that waits, at the upstream that is first in turn; or
// only who that is.
func (c *choice) warm(h header) reached {
	u := c.next()
	if u == nil {
		return reached{}
	}
	u.active.Add(1)
	if conn := u.pool.get(); conn != nil && h.send(conn) == nil {
		return reached{u, conn}
	}
	return reached{upstream: u}
}

// connect connects to the upstream that is first in turn, and to the next one where
// that fails. Of what the client has sent nothing is taken meanwhile. When it fails
// the upstream in the result is the last one tried, and nobody's.
func (c *choice) connect(ctx context.Context, first reached, h header) (reached, error) {
	if first.upstream == nil {
		return first, ErrNoUpstreams
	}
	if first.conn != nil {
		return first, nil
	}
	conn, err := first.upstream.dial(ctx, c.proxy.cfg.connectTimeout())
	for isOutOfDescriptors(err) && c.proxy.makeRoom() {
		conn, err = first.upstream.dial(ctx, c.proxy.cfg.connectTimeout())
	}
	if err == nil {
		err = h.send(conn)
	}
	if err == nil {
		return reached{first.upstream, conn}, nil
	}
	return c.goOn(ctx, first, err, h)
}

// goOn is connect after the one to failed has failed, with err.
func (c *choice) goOn(ctx context.Context, failed reached, err error, h header) (reached, error) {
	failed.upstream.active.Add(-1)
	if ctx.Err() != nil || len(c.left) == 0 {
		return failed, err
	}
	r, next := c.connect(ctx, c.warm(h), h)
	if next != nil {
		return r, errors.Join(err, next)
	}
	return r, nil
}

// header is what the upstream is told of the client before its first byte.
type header struct {
	version       SendProxy
	client, local net.Addr
}

// send sends the header, and closes conn where that fails. A connection on which
// nothing was sent yet takes it at once.
func (h header) send(conn net.Conn) error {
	if h.version == "" || h.version == SendOff {
		return nil
	}
	version := byte(2)
	if h.version == SendV1 {
		version = 1
	}
	b, err := proxyproto.HeaderProxyFromAddrs(version, h.client, h.local).Format()
	if err == nil {
		_, err = conn.Write(b)
	}
	if err != nil {
		conn.Close()
	}
	return err
}
