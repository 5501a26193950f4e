package client

import (
	"net"

	"wireline/internal/netconn"
)

// detach takes the socket away from package net, for an event loop. If that fails, nothing has changed,
// and the connection is served by a goroutine.
func (l *link) detach() {
	switch l.base.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return // its methods may do more than those of a socket
	}
	fd, err := netconn.Dup(l.base)
	if err != nil {
		return
	}
	l.base.Close() // its descriptor is another one
	l.base, l.fd = nil, fd
}

// copySocket makes a net.Conn of a socket, with a descriptor of its own.
func copySocket(fd int) (net.Conn, error) { return netconn.Copy(fd) }
