//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
)

// relayIOCopy is the proxy of most tutorials, done correctly: a goroutine per direction, which
// passes on the end of its stream. io.Copy splices between two TCP connections, but not where
// one side is TLS. It has no timeouts and no records.
func relayIOCopy(ctx context.Context, ln net.Listener, upstream netip.AddrPort, cfg *tls.Config) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	// The load closes the clients, and ends before its proxy.
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		client := halfCloser(conn.(*net.TCPConn))
		if cfg != nil {
			client = tls.Server(conn, cfg)
		}
		clients.Go(func() { relayTo(client, upstream) })
	}
}

// halfCloser is a connection over TCP or TLS.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func relayTo(client halfCloser, upstream netip.AddrPort) {
	defer client.Close()
	to, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(upstream))
	if err != nil {
		return
	}
	defer to.Close()
	var down sync.WaitGroup
	down.Go(func() { relayOneWay(client, to) })
	relayOneWay(to, client)
	down.Wait()
}

func relayOneWay(to, from halfCloser) {
	_, err := io.Copy(to, from)
	if err != nil { // end the other direction too
		to.Close()
		from.Close()
		return
	}
	_ = to.CloseWrite()
}
