package handler

import (
	"context"
	"net"
)

// Handler serves connections. Its methods are called from many goroutines at
// the same time.
type Handler interface {
	// Handle serves one connection and returns when it is done with it. It
	// owns conn and closes it before it returns. ctx ends when the server
	// cuts what is left or has stopped, not when a drain begins. A panic
	// costs this connection only.
	Handle(ctx context.Context, conn net.Conn)

	// Close drains: it lets the clients finish what they are in, with a bound
	// of the handler's own, then cuts them.
	Close() error
}

// Shutdowner is a Handler whose drain the caller bounds. tcp.Server prefers
// Shutdown to Close.
type Shutdowner interface {
	// Shutdown drains as Close does until ctx ends, then cuts what is left
	// and returns an error.
	Shutdown(ctx context.Context) error
}

// Starter is a Handler with work of its own beside its connections, such as to look
// whether its upstreams are well.
type Starter interface {
	// Start begins that work, before the first connection is accepted; Close or
	// Shutdown ends it. It is called for each listener, and must not block.
	Start()
}

// Registrar is a Handler that wants to know of a connection in the accept loop,
// before it has a goroutine, so that a drain that starts in between does not
// miss it.
type Registrar interface {
	// Register takes over conn and returns the function that serves it as
	// Handle would. It must not block: the server's next client waits for it.
	Register(ctx context.Context, conn net.Conn) (serve func())
}

// SocketRegistrar is a Handler that can hold a stream socket without a net.Conn
// around it, as on an event loop. A server that accepts such sockets offers them
// before it makes anything else of them.
type SocketRegistrar interface {
	// RegisterSocket takes over the connected, non-blocking, close-on-exec
	// socket fd and serves it; it closes it, and then calls session.Done. It
	// must not block. If it returns false it has done nothing, and the socket
	// is still the caller's.
	//
	// A handler that takes sockets is a Shutdowner, whose Shutdown also resets
	// those that are left when its context ends.
	RegisterSocket(ctx context.Context, fd int, session Session) bool
}

// Session is what a server knows of a socket that it has given to a handler.
// Its methods may be called from any goroutine.
type Session interface {
	// LocalAddr and RemoteAddr are the two ends of the connection. The local
	// one is the listener's, so its host may be unspecified.
	LocalAddr() net.Addr
	RemoteAddr() net.Addr

	// Panicked reports a panic with v, or that a goroutine was ended if v is
	// nil. It is called in the function that recovers, so that the stack can
	// be seen.
	Panicked(v any)

	// Done is called once, when the socket is closed or has a new owner.
	Done()
}

// Wrapper is a Session whose connection is more than its socket, as when it has other
// addresses. Who makes a net.Conn of the socket, as Client.Hijack does, wraps that.
type Wrapper interface {
	Session
	Wrap(conn net.Conn) net.Conn
}

// releaseKey is the context's key for WithRelease.
type releaseKey struct{}

// WithRelease returns a context for Handle or Register whose handler calls
// release, at most once, when somebody else has become the owner of the
// connection, as by Client.Hijack: who accepted it is not to count, close or cut
// it any more.
func WithRelease(ctx context.Context, release func()) context.Context {
	return context.WithValue(ctx, releaseKey{}, release)
}

// Func returns a Handler that calls f for each connection. f reads and writes
// conn as it likes; conn is closed when f returns. In a drain, a client whose f
// waits in Read is idle, so its Read fails with ErrDraining; another one is
// busy and goes on until its next Read. Set OnRecord of the result for a record
// of each connection.
func Func(f func(ctx context.Context, conn net.Conn)) *Plain {
	return &Plain{serve: f}
}

// Plain is the Handler that Func returns.
type Plain struct {
	Clients
	serve func(ctx context.Context, conn net.Conn)
}

// Handle implements Handler.
func (p *Plain) Handle(ctx context.Context, conn net.Conn) { p.Register(ctx, conn)() }

// Register implements Registrar.
func (p *Plain) Register(ctx context.Context, conn net.Conn) func() {
	c, err := p.Add(ctx, conn)
	if err != nil {
		return func() {}
	}
	return func() {
		returned := false
		defer func() {
			if !returned { // a panic or runtime.Goexit; who called us deals with it
				c.client.end(ByServer, Panic, nil)
			}
			c.finish()
		}()
		p.serve(ctx, c)
		returned = true
	}
}
