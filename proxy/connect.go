package proxy

import (
	"context"
	"errors"
	"net"

	"github.com/pires/go-proxyproto"
)

// dialResult is an upstream, and a connection to it.
type dialResult struct {
	upstream *upstream
	conn     net.Conn
}

// fromPool returns a connection from the pool of the upstream that is to be tried first. If
// there is none, it returns only that upstream.
func (c *choice) fromPool(h header) dialResult {
	u := c.next()
	if u == nil {
		return dialResult{}
	}
	u.active.Add(1)
	if conn := u.pool.get(); conn != nil && h.send(conn) == nil {
		return dialResult{u, conn}
	}
	return dialResult{upstream: u}
}

// connect connects to the upstream in first, which fromPool has returned, and to the next
// one where that fails. Nothing is read from the client meanwhile. If connect fails, the
// upstream in the result is the last one tried, and does not count the client any more.
func (c *choice) connect(ctx context.Context, first dialResult, h header) (dialResult, error) {
	if first.upstream == nil {
		return first, ErrNoUpstreams
	}
	if first.conn != nil {
		return first, nil
	}
	conn, err := first.upstream.dial(ctx, c.proxy.Config.connectTimeout(), h)
	for isOutOfDescriptors(err) && c.proxy.makeRoom() {
		conn, err = first.upstream.dial(ctx, c.proxy.Config.connectTimeout(), h)
	}
	if err == nil {
		return dialResult{first.upstream, conn}, nil
	}
	return c.tryNext(ctx, first, err, h)
}

// tryNext connects to the next upstream, after the connect to failed has failed with err.
func (c *choice) tryNext(ctx context.Context, failed dialResult, err error, h header) (dialResult, error) {
	failed.upstream.active.Add(-1)
	if ctx.Err() != nil || len(c.left) == 0 {
		return failed, err
	}
	r, next := c.connect(ctx, c.fromPool(h), h)
	if next != nil {
		return r, errors.Join(err, next)
	}
	return r, nil
}

// header tells the upstream the client's address, before the client's first byte. Without
// addresses it says that there is no client. The zero value is no header.
type header struct {
	version       SendProxy
	client, local net.Addr
}

// send sends the header, and closes conn if that fails. It does not wait: a connection on
// which nothing was sent yet takes the header at once.
func (h header) send(conn net.Conn) error {
	if h.version == "" || h.version == SendProxyOff {
		return nil
	}
	version := byte(2)
	if h.version == SendProxyV1 {
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
