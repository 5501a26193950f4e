package handler

import (
	"context"
	"iter"
	"net"
)

// Conns is the set of the connections that a plain handler serves. The zero value is empty
// and ready. All methods are safe for concurrent use. A handler that embeds it has its
// Close and Shutdown.
type Conns struct{ set[*connMember] }

// All returns the connections that there are now. Those that come or go during the
// iteration may be seen or not.
func (s *Conns) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		s.members.Range(func(m *connMember) bool { return yield((*Conn)(m)) })
	}
}

// Serve calls f with the connection in a goroutine of its own, and closes it when f has
// returned. It is how a handler that embeds Conns implements Acceptor. While the set is
// closing, the connection is closed at once.
func (s *Conns) Serve(a Accepted, f func(ctx context.Context, c *Conn)) {
	conn, err := a.Conn()
	if err != nil {
		a.Done()
		return
	}
	c := newConn(a, conn, s)
	if !s.add((*connMember)(c)) {
		conn.Close()
		a.Done()
		return
	}
	go serveAccepted(a, func() { c.serve(f) })
}

// Add takes conn into the set and returns it as a handler that has only Handle is to use
// it. When the set is closing it closes conn and returns ErrDraining.
func (s *Conns) Add(ctx context.Context, conn net.Conn) (*Conn, error) {
	c := newConn(&direct{ctx: ctx, conn: conn, done: make(chan struct{})}, conn, s)
	if !s.add((*connMember)(c)) {
		conn.Close()
		return nil, ErrDraining
	}
	return c, nil
}

// Func returns a Handler that calls f for each connection. f reads and writes
// conn as it likes; conn is a *Conn, and is closed when f returns. In a drain, a client
// whose f waits in Read is idle, so its Read fails with ErrDraining; another one is
// busy and goes on until its next Read. Set OnRecord of the result for a record
// of each connection.
func Func(f func(ctx context.Context, conn net.Conn)) *Plain {
	return &Plain{serve: f}
}

// Plain is the Handler that Func returns.
type Plain struct {
	Conns
	serve func(ctx context.Context, conn net.Conn)
}

// Handle implements Handler.
func (p *Plain) Handle(ctx context.Context, conn net.Conn) { ServeConn(ctx, conn, p) }

// Accept implements Acceptor.
func (p *Plain) Accept(a Accepted) {
	p.Serve(a, func(ctx context.Context, c *Conn) { p.serve(ctx, c) })
}
