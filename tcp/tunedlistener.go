package tcp

import (
	"net"

	"wireline/handler"
)

// tunedListener is a TCP listener of Listen whose connections have options that package
// net would override, or does not know.
type tunedListener struct {
	*net.TCPListener
	nagle bool
	mode  handler.CloseMode
}

// wantsListener reports whether Listen is to return a tunedListener. In all other
// cases a *net.TCPListener will do.
func (c *Config) wantsListener() bool {
	return !c.Socket.NoDelay.On() || !c.Socket.KeepAlive.Enable.On() || c.Linger != handler.CloseDefault
}

// Accept implements net.Listener.
func (l *tunedListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// AcceptTCP is Accept with the type of the connection.
func (l *tunedListener) AcceptTCP() (*net.TCPConn, error) {
	conn, err := l.TCPListener.AcceptTCP()
	if err != nil {
		return nil, err
	}
	if l.nagle {
		conn.SetNoDelay(false) // package net has set it
	}
	if seconds, ok := soLinger(l.mode); ok && !inherited(closeLinger) {
		conn.SetLinger(seconds)
	}
	return conn, nil
}

// tcpListener returns the TCP listener that ln is, or nil.
func tcpListener(ln net.Listener) *net.TCPListener {
	switch ln := ln.(type) {
	case *net.TCPListener:
		return ln
	case *tunedListener:
		return ln.TCPListener
	}
	return nil
}
