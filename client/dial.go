package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"wireline/internal/handshakes"
	"wireline/internal/timeout"
	"wireline/internal/transport"
)

func (d *Dialer) connectTimeout() time.Duration {
	return cmp.Or(d.ConnectTimeout, defaultConnectTimeout)
}

// dial makes a connection for c, with TLS if there is to be TLS.
func (d *Dialer) dial(limit *timeout.Timeout, c *Conn) (*link, error) {
	dial := d.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(limit, c.network, c.address)
	if err != nil {
		return nil, err
	}
	l := &link{conn: c, local: conn.LocalAddr(), remote: conn.RemoteAddr(), base: conn, fd: -1}
	if d.TLS != nil {
		secure, err := d.handshake(limit, c, conn)
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		l.tls = secure.Conn()
	}
	l.detach()
	if t := transport.Of(l.tls); t != nil {
		t.SetBase(l.base)
		t.SetSocket(l.takeSocket)
	}
	return l, nil
}

// handshake makes conn the client's end of a TLS connection. It ends in time even if a function of
// TLS blocks.
func (d *Dialer) handshake(limit *timeout.Timeout, c *Conn, conn net.Conn) (*transport.TLS, error) {
	timed, done := limit.Conn(conn), make(chan error, 1)
	secure := transport.Client(timed, d.tlsConfig(c.address))
	go func() {
		err, mine := d.handshakes.Make(limit, handshakes.Handshake{
			Conn:      secure.Conn(),
			Abandoned: func() { done <- context.Cause(limit) },
			Panicked: func(v any, abandoned bool) {
				if !abandoned {
					done <- errPanicked
				}
				d.logPanic(c, v)
			},
		})
		if mine {
			done <- err
		}
	}()
	if err := <-done; err != nil {
		return nil, err
	}
	timed.Done()
	return secure, nil
}

// tlsConfig returns the configuration for an address. Most Dialers have one address, so the last one
// is kept: connections do not need one each.
func (d *Dialer) tlsConfig(address string) *tls.Config {
	name := d.TLS.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(address) // not of a unix socket: it has no host
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tls == nil || d.tls.ServerName != name {
		d.tls = d.TLS.Clone()
		d.tls.ServerName = name
		d.tls.Renegotiation = tls.RenegotiateNever // a handshake cannot wait on an event loop
	}
	return d.tls
}
