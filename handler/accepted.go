package handler

import (
	"context"
	"crypto/tls"
	"net"
)

// Acceptor is a Handler that holds connections in its own way: on an event loop, say,
// or in a set that a drain must not miss. A server calls Accept in the place of Handle.
//
// An Acceptor is a Shutdowner, whose Shutdown also resets the connections that are left
// when its context ends.
type Acceptor interface {
	// Accept takes over a connection and returns at once, without waiting for the
	// client: it is called in the accept loop, and the server's next client waits for
	// it. The Acceptor closes the connection, and then calls a.Done, also when it
	// refuses it. If Accept panics, the server closes the connection, also a socket that
	// a.Socket has returned, and calls a.Done.
	Accept(a Accepted)
}

// Accepted is a connection that a server has accepted and admitted, after the PROXY
// header and the TLS handshake if there were any. Its methods may be called from any
// goroutine, but Socket and Conn only by the owner of the connection.
type Accepted interface {
	// Context is the connection's context. It ends when the server cuts what is left
	// or has stopped, not when a drain begins.
	Context() context.Context

	// LocalAddr and RemoteAddr are the two ends of the connection, as a PROXY header
	// has named them if there was one. Of a bare socket the local one is the
	// listener's, so its host may be unspecified.
	LocalAddr() net.Addr
	RemoteAddr() net.Addr

	// Network is the kind of socket that the connection came over, "tcp" or "unix",
	// whatever addresses a PROXY header has named; of a listener of another kind, the
	// network of its address.
	Network() string

	// CloseMode is how connections of this server are closed. SO_LINGER is set
	// already if the mode wants it.
	CloseMode() CloseMode

	// TLS is the connection after its handshake; nil without TLS.
	TLS() *tls.Conn

	// Socket returns the connected, non-blocking, close-on-exec stream socket if there
	// is no net.Conn around it: an event loop takes that. The descriptor is the
	// caller's from then on. ok is false where there is none, as under TLS and on
	// systems without event loops: then Conn has the connection.
	Socket() (fd int, ok bool)

	// Conn returns the connection as a net.Conn, with the addresses of a PROXY header
	// and under TLS if that is so. It returns the same one each time. After Socket it
	// makes one with a descriptor of its own, so that the socket can be closed; an error
	// then leaves the socket as it is. Any other error means that the connection is
	// closed: only Done is left to be called. The server has logged it.
	Conn() (net.Conn, error)

	// Panicked reports a panic with v, or that a goroutine was ended if v is nil. It
	// is called in the function that recovers, so that the stack can be seen.
	Panicked(v any)

	// Done is called when the connection is closed or has a new owner. The server does
	// not count it any more then. A further call does nothing.
	Done()
}
