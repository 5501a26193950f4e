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
func (c *choice) fromPool() dialResult {
	u := c.claim()
	if u == nil {
		return dialResult{}
	}
	if conn := u.pool.get(c.settings); conn != nil && c.header().send(conn) == nil {
		return dialResult{u, conn}
	}
	return dialResult{upstream: u}
}

// claim returns the upstream that is to be tried next, which counts the client from now on; nil if
// all have been tried.
func (c *choice) claim() *upstream {
	for {
		u := c.next()
		if u == nil {
			if c.renew() {
				continue
			}
			return nil
		}
		u.active.Add(1)
		if !u.is(UpstreamRemoved) {
			return u
		}
		// It was removed after these settings were read, so others are in force. It may be
		// forgotten already, and is not to get a client.
		u.active.Add(-1)
		c.tried--
		c.renew()
	}
}

// header is what the upstream is told of the client.
func (c *choice) header() header { return c.pair.header(&c.settings.cfg) }

// connect connects to the upstream in first, which fromPool has returned, and to the next
// one where that fails. Nothing is read from the client meanwhile. If connect fails, the
// upstream in the result is the last one tried, and does not count the client any more.
func (c *choice) connect(ctx context.Context, first dialResult) (dialResult, error) {
	if first.upstream == nil {
		return first, ErrNoneTakesClients
	}
	if first.conn != nil {
		return first, nil
	}
	s, h := c.settings, c.header()
	conn, err := first.upstream.dial(ctx, s, s.cfg.connectTimeout(), h)
	for isOutOfDescriptors(err) && s.proxy.makeRoom() {
		conn, err = first.upstream.dial(ctx, s, s.cfg.connectTimeout(), h)
	}
	if err == nil {
		return dialResult{first.upstream, conn}, nil
	}
	return c.tryNext(ctx, first, err)
}

// tryNext connects to the next upstream, after the connect to failed has failed with err. If the
// proxy was reconfigured meanwhile, the next one is one of the new configuration.
func (c *choice) tryNext(ctx context.Context, failed dialResult, err error) (dialResult, error) {
	if ctx.Err() != nil {
		failed.upstream.giveUp()
		return failed, err
	}
	failed.upstream.active.Add(-1)
	c.renew()
	first := c.fromPool()
	if first.upstream == nil {
		return failed, err
	}
	r, next := c.connect(ctx, first)
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
