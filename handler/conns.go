package handler

import (
	"context"
	"iter"
	"net"
)

// Conns is a set of connections that a handler reads and writes itself. A handler that
// embeds Conns has its Close and Shutdown methods. Its field OnRecord, if set, gets the
// Record of each connection that has ended. The zero value is empty and ready to use. All
// methods are safe for concurrent use.
type Conns struct{ set[*connMember] }

// All returns an iterator over the current connections. A connection that comes or goes
// during the iteration may or may not be included.
func (s *Conns) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		s.members.Range(func(m *connMember) bool { return yield((*Conn)(m)) })
	}
}

// Serve calls f with the connection in a new goroutine, and closes the connection when
// f has returned. A handler that embeds Conns calls it in its Accept method. If the set
// is shutting down, Serve closes the connection at once.
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

// Add adds conn to the set and returns it as a Conn, for a handler that has only
// Handle. The handler must close the Conn. If the set is shutting down, Add closes conn
// and returns ErrDraining.
func (s *Conns) Add(ctx context.Context, conn net.Conn) (*Conn, error) {
	c := newConn(&direct{ctx: ctx, conn: conn, done: make(chan struct{})}, conn, s)
	if !s.add((*connMember)(c)) {
		conn.Close()
		return nil, ErrDraining
	}
	return c, nil
}

// Func returns a Handler that calls f for each connection. f may read and write conn as
// it likes; conn is a *Conn and is closed when f returns. In a drain, a client is idle
// if f waits in Read: that Read returns ErrDraining. Other clients are busy until their
// next Read.
//
// Set OnRecord of the result to receive a record of each connection.
func Func(f func(ctx context.Context, conn net.Conn)) *Plain {
	return &Plain{serve: f}
}

// Plain is the Handler that Func returns. The zero value is not usable.
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
