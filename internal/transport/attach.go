package transport

import (
	"crypto/tls"
	"net"

	"wireline/internal/eventloop"
	"wireline/internal/rawfd"
	"wireline/lib/sync/wait"
)

// Source is a connection that a server has accepted: handler.Accepted.
type Source interface {
	Network() string
	TLS() *tls.Conn
	Socket() (fd int, ok bool)
	Conn() (net.Conn, error)
}

// Attach puts a connection on a poller, without starting it: on an event loop if there
// is one and the connection has a bare socket, then conn is s; on a Portable otherwise, whose
// goroutine is counted in goroutines. t is the TLS over conn, nil if Server or Client have made
// none.
func Attach(from Source, loops *eventloop.Lazy, s *eventloop.Socket, h eventloop.Handler,
	goroutines *wait.Wait) (conn eventloop.Conn, t *TLS, err error) {

	t = Of(from.TLS())
	if conn, err = attach(from, t, loops, s, h, goroutines); err == nil && t != nil {
		t.useNew(conn)
	}
	return conn, t, err
}

func attach(from Source, t *TLS, loops *eventloop.Lazy, s *eventloop.Socket, h eventloop.Handler,
	goroutines *wait.Wait) (eventloop.Conn, error) {

	take := from.Socket
	if t != nil {
		take = t.Socket
	}
	if fd, ok := take(); ok {
		where := eventloop.Placement{TCP: from.Network() == "tcp"}
		if g := loops.Group(); g != nil && g.Add(s, fd, h, where) == nil {
			return s, nil
		}
		defer rawfd.Close(fd) // Conn duplicates the descriptor
	}
	conn, err := from.Conn()
	if err != nil {
		return nil, err
	}
	if t != nil {
		conn = t.Base()
	}
	goroutines.Add(1)
	return eventloop.NewPortable(conn, h, goroutines.Done), nil
}
