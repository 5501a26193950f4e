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
func (p *Plain) Handle(ctx context.Context, conn net.Conn) { ServeConn(ctx, conn, p) }

// Accept implements Acceptor: the function runs in a goroutine of the connection's own.
func (p *Plain) Accept(a Accepted) {
	conn, err := a.Conn()
	if err != nil {
		a.Done()
		return
	}
	c, err := p.add(a.Context(), conn, a.CloseMode())
	if err != nil {
		a.Done()
		return
	}
	go serveAccepted(a, func() { p.serveConn(a.Context(), c) })
}

func (p *Plain) serveConn(ctx context.Context, c *Conn) {
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit; serveAccepted reports it
			c.client.end(ByServer, Panic, nil)
		}
		c.finish()
	}()
	p.serve(ctx, c)
	returned = true
}
