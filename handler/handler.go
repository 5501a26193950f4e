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
