package handler

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime/debug"
	"sync"

	"wireline/internal/panics"
	"wireline/lib/logger"
)

// ServeConn passes conn to h as a server does, and returns when h is done with it. Use
// it to implement the Handle method of an Acceptor. The context of the connection is
// ctx, and its close mode is CloseDefault. A panic in the handler ends the connection
// and is logged to slog.Default(), or reported to the server that ctx belongs to.
//
// The connection counts as one of the handler, and the handler's drain is its drain. If it was hijacked,
// and ctx is the context of its Client, its server counts it as a client again until ServeConn returns:
// for its limits, for the memory of all clients, and in Stats. But a stop of the server does not wait for
// it.
func ServeConn(ctx context.Context, conn net.Conn, h Acceptor) {
	d := &direct{ctx: ctx, conn: conn, done: make(chan struct{})}
	d.from, _ = ctx.Value(hijackedKey{}).(Accepted)
	if from, ok := d.from.(recounter); ok {
		d.ctx = withHijacked(ctx, d) // which does not count once more
		defer from.Recount()()
	}
	h.Accept(d)
	<-d.done
}

// hijackedKey is the key under which the context of a hijacked client has its Accepted.
type hijackedKey struct{}

func withHijacked(ctx context.Context, from Accepted) context.Context {
	return context.WithValue(ctx, hijackedKey{}, from)
}

// fromServer is a, or what a server has accepted if a is the direct of a hijacked connection; or nil.
func fromServer(a Accepted) Accepted {
	if d, ok := a.(*direct); ok {
		return d.from
	}
	return a
}

// recounter is an Accepted whose server can count it as a client again after Done.
type recounter interface {
	Accepted

	// Recount counts the connection as a client, also if the server is full. uncount undoes that.
	Recount() (uncount func())
}

// direct is the Accepted of a connection that was passed to Handle, not accepted by a
// server.
type direct struct {
	ctx  context.Context
	conn net.Conn
	from Accepted // if the connection was hijacked; or nil
	once sync.Once
	done chan struct{}
}

func (d *direct) Context() context.Context { return d.ctx }
func (d *direct) LocalAddr() net.Addr      { return d.conn.LocalAddr() }
func (d *direct) RemoteAddr() net.Addr     { return d.conn.RemoteAddr() }
func (d *direct) CloseMode() CloseMode     { return CloseDefault }

func (d *direct) Memory() *Memory {
	if d.from == nil {
		return nil
	}
	return d.from.Memory()
}

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
	if server := panics.ReporterOf(d.ctx); server != nil {
		server.ReportPanic(peer, v)
		return
	}
	what := "runtime.Goexit"
	if v != nil {
		what = fmt.Sprint(v)
	}
	logger.Async(nil).Error("handler panicked", "peer", peer, "panic", what, "stack", string(debug.Stack()))
}

func (d *direct) Done() { d.once.Do(func() { close(d.done) }) }

// serveAccepted calls serve, which serves a and closes its connection, and then calls
// a.Done. A panic or runtime.Goexit ends this connection only.
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
