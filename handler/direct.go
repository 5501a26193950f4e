package handler

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
)

// ServeConn gives conn to h as a server does, and returns when h is done with it. It is
// how an Acceptor implements Handle. The connection's context is ctx, and its close mode
// is CloseDefault. A panic of the handler is written to slog.Default() and ends the
// connection.
func ServeConn(ctx context.Context, conn net.Conn, h Acceptor) {
	d := &direct{ctx: ctx, conn: conn, done: make(chan struct{})}
	h.Accept(d)
	<-d.done
}

// direct is a connection that no server has accepted: it was passed to Handle.
type direct struct {
	ctx  context.Context
	conn net.Conn
	once sync.Once
	done chan struct{}
}

func (d *direct) Context() context.Context { return d.ctx }
func (d *direct) LocalAddr() net.Addr      { return d.conn.LocalAddr() }
func (d *direct) RemoteAddr() net.Addr     { return d.conn.RemoteAddr() }
func (d *direct) CloseMode() CloseMode     { return CloseDefault }

func (d *direct) Network() string {
	if addr := d.conn.LocalAddr(); addr != nil {
		return addr.Network()
	}
	return ""
}

func (d *direct) TLS() *tls.Conn {
	conn, _ := d.conn.(*tls.Conn)
	return conn
}

func (d *direct) Socket() (fd int, ok bool) { return -1, false }
func (d *direct) Conn() (net.Conn, error)   { return d.conn, nil }

func (d *direct) Panicked(v any) {
	peer := ""
	if addr := d.RemoteAddr(); addr != nil {
		peer = addr.String()
	}
	what := "runtime.Goexit"
	if v != nil {
		what = fmt.Sprint(v)
	}
	slog.Error("handler panicked", "peer", peer, "panic", what, "stack", string(debug.Stack()))
}

func (d *direct) Done() { d.once.Do(func() { close(d.done) }) }

// serveAccepted calls serve, which serves a and closes its connection, and then a.Done.
// A panic, or runtime.Goexit, costs this connection only.
func serveAccepted(a Accepted, serve func()) {
	defer a.Done()
	returned := false
	defer func() {
		if !returned {
			a.Panicked(recover())
		}
	}()
	serve()
	returned = true
}
