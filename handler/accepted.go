package handler

import (
	"context"
	"crypto/tls"
	"net"
)

// Acceptor is a Handler that takes over connections without a goroutine for each: it
// serves them on an event loop, for example. A server calls Accept instead of Handle.
//
// An Acceptor must also be a Shutdowner, and its Shutdown must reset the connections
// that are left when its context ends.
type Acceptor interface {
	// Accept takes over a connection and returns at once. It is called in the accept
	// loop, so it must not wait for the client: the next client of the server would
	// wait too. The Acceptor closes the connection and then calls a.Done, even if it
	// refuses the connection. If Accept panics, the server closes the connection,
	// including a socket that a.Socket has returned, and calls a.Done.
	Accept(a Accepted)
}

// Accepted is a connection that a server has accepted and admitted. If there is a PROXY
// header or a TLS handshake, it is complete. Any goroutine may call the methods, except
// Socket and Conn, which only the owner of the connection may call.
type Accepted interface {
	// Context returns the context of the connection. It ends when the server cuts its
	// remaining connections or has stopped, not when a drain begins.
	Context() context.Context

	// LocalAddr and RemoteAddr return the addresses of the connection. If there was a
	// PROXY header, they are the addresses in that header. If the connection is a bare
	// socket, the local address is that of the listener, so its host may be
	// unspecified.
	LocalAddr() net.Addr
	RemoteAddr() net.Addr

	// Network returns the kind of socket that carries the connection, "tcp" or "unix".
	// A PROXY header does not change it. For a listener of another kind it is the
	// network of the listener's address.
	Network() string

	// CloseMode returns the close mode of the server. If the mode needs SO_LINGER, that
	// is already set.
	CloseMode() CloseMode

	// Memory returns the budget for what is buffered for the connection; nil if there is
	// none. It is the same for each call.
	Memory() *Memory

	// TLS returns the TLS connection after its handshake, or nil without TLS.
	TLS() *tls.Conn

	// Socket returns the socket, if there is no net.Conn around it, for use with an
	// event loop. It is a connected stream socket, non-blocking and close-on-exec. The
	// caller owns the descriptor from then on. ok is false if there is none, as under
	// TLS and on systems without event loops; then use Conn.
	Socket() (fd int, ok bool)

	// Conn returns the connection as a net.Conn, with TLS if that is used and with the
	// addresses of the PROXY header. Each call returns the same one.
	//
	// After Socket, Conn duplicates the descriptor, so the caller still has to close
	// the socket. If that fails, the socket remains valid. Any other error means that
	// the server has closed the connection and logged the error: the caller only calls
	// Done.
	Conn() (net.Conn, error)

	// Panicked reports a panic with value v, or runtime.Goexit if v is nil. Call it in
	// the deferred function that recovers, so that it can log the stack.
	Panicked(v any)

	// Done tells the server that the connection is closed or has a new owner. The
	// server stops counting it. Further calls do nothing.
	Done()
}
