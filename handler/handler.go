package handler

import (
	"context"
	"net"
)

// Handler serves connections. Its methods may be called from several goroutines at the
// same time.
type Handler interface {
	// Handle serves one connection and returns when it is done. It owns conn and closes
	// it before it returns. ctx ends when the server cuts its remaining connections or
	// has stopped, not when a drain begins. A panic ends this connection only.
	Handle(ctx context.Context, conn net.Conn)

	// Close drains the handler: it lets the clients finish their current work, waits
	// for a time that the handler chooses, and cuts the connections that are left.
	Close() error
}

// Shutdowner is a Handler that lets the caller limit the drain. tcp.Server calls
// Shutdown instead of Close if the handler has it.
type Shutdowner interface {
	// Shutdown drains as Close does until ctx ends. Then it cuts the connections that
	// are left and returns an error.
	Shutdown(ctx context.Context) error
}

// Starter is a Handler that has background work beside its connections, such as health
// checks of its upstreams.
type Starter interface {
	// Start begins the background work. The server calls it before it accepts the first
	// connection, once per listener. It must not block. Close or Shutdown ends the
	// work.
	Start()
}
