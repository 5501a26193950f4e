package tcp

import (
	"context"
	"net"
	stdatomic "sync/atomic"
	"time"

	"wireline/handler"
	"wireline/internal/panics"
)

// listener is a listener that a server serves.
type listener struct {
	server *Server
	ctx    context.Context // of every connection
	values context.Context // that was passed to Serve: its values are in ctx
	ln     net.Listener
	raw    *rawListener // accepts bare sockets; nil if the handler takes none, or ln is more than a socket
	opened *Config      // with which the server has opened it; nil for one that was passed to Serve

	// mode is what the SO_LINGER of accepted sockets stands for. If decides is set, that is how
	// they are closed, whatever the settings say.
	mode    handler.CloseMode
	decides bool

	// shared tells that ln was made of the socket of another server: package net does not know its
	// keep-alive. given tells that another server has the socket now. owner is one for all listeners
	// of a socket: that to which it was given last, as soon as that one is served. Connections keep
	// their listener, but no chain of later ones.
	shared bool
	given  stdatomic.Bool
	owner  *stdatomic.Pointer[listener]

	now *terms // the last ones; only the accept loop has them

	stopping context.Context // ends when the server stops, or the listener retires
	stopped  <-chan struct{} // its Done
	halt     context.CancelFunc

	// The server's mu guards these. next is what takes its place, until its accept loop has that.
	retired bool
	next    *listener
}

// terms are what the connections of a listener have in common that were accepted with the same
// settings. They are not changed.
type terms struct {
	*listener
	*settings
	mode handler.CloseMode

	// SO_LINGER in seconds, -1 for off, if lingers is set: the connection does not inherit it.
	linger  int
	lingers bool
}

// newListener returns the listener for ln. Its connections are closed as Listen was told,
// or as ln's own SO_LINGER says, which they inherit, or else as s is told: then SO_LINGER
// is still to be set. opened is nil if s has not opened ln itself.
func (s *Server) newListener(ctx context.Context, ln net.Listener, opened *Config) *listener {
	l := &listener{server: s, ctx: connContext{s.ctx, ctx, panicReporter{s}}, values: ctx, ln: ln, opened: opened}
	l.owner = new(stdatomic.Pointer[listener])
	l.stopping, l.halt = context.WithCancel(s.stopping)
	l.stopped = l.stopping.Done()
	if isPlain(ln) && takesSockets(s.handler()) {
		l.raw = newRawListener(ln)
	}
	mode, err := modeOf(ln)
	if own, ok := ln.(*tunedListener); ok {
		mode, err = own.mode, nil
	}
	if err == nil {
		l.mode = mode
	}
	l.decides = opened == nil && l.mode != handler.CloseDefault && l.mode != s.settings.Load().Linger
	return l
}

// terms returns what holds for a connection that is accepted now.
func (l *listener) terms() *terms {
	if set := l.server.settings.Load(); l.now == nil || l.now.settings != set {
		l.now = l.newTerms(set)
	}
	return l.now
}

func (l *listener) newTerms(set *settings) *terms {
	t := &terms{listener: l, settings: set, mode: l.mode}
	if l.decides {
		return t
	}
	t.mode = set.Linger
	had, has := soLinger(l.mode)
	want, wants := soLinger(t.mode)
	if t.lingers = want != had || wants != has; wants {
		t.linger = want
	} else {
		t.linger = -1
	}
	return t
}

// connContext is the context of the connections: the end of the server's own,
// the values of the one that was passed to Serve.
type connContext struct {
	context.Context
	values   context.Context
	reporter panics.Reporter
}

func (c connContext) Value(key any) any {
	if key == (panics.Key{}) {
		return c.reporter
	}
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}

// panicReporter is a Server as a panics.Reporter.
type panicReporter struct{ server *Server }

// ReportPanic implements panics.Reporter.
func (r panicReporter) ReportPanic(peer string, v any) { r.server.reportPanic(peer, v) }

// acceptsBare reports whether the next connection comes as a bare socket. A handshake needs a
// net.Conn anyway.
func (l *listener) acceptsBare() bool { return l.raw != nil && l.terms().tls == nil }

func (l *listener) accept() (*accepted, error) {
	if l.acceptsBare() {
		return l.raw.accept(l)
	}
	conn, err := l.ln.Accept()
	if err != nil {
		return nil, err
	}
	a := newAccepted(l.terms(), conn)
	l.tune(conn)
	if l.raw != nil && a.from.tls == nil {
		_ = a.detach() // TLS was turned off meanwhile; a net.Conn will do as well
	}
	return a, nil
}

// tune sets the options of a connection of package net that have changed since the listener was
// opened, and that it does not inherit.
func (l *listener) tune(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || l.opened == nil {
		return
	}
	now, was := &l.now.Socket, &l.opened.Socket
	if now.NoDelay != was.NoDelay { // package net sets it in any case
		tcp.SetNoDelay(now.NoDelay.On())
	}
	if l.shared || now.KeepAlive != was.KeepAlive && !inherited(keepAlive) {
		tcp.SetKeepAliveConfig(l.now.keepAliveConfig())
	}
}

// setChanged sets the socket options that next has and was has not.
func (l *listener) setChanged(next, was *Config) {
	for _, o := range next.changedOptions(was) {
		if err := o.set(l.ln); err != nil {
			l.server.log().Warn("socket option not changed", "addr", l.ln.Addr().String(), "err", o.refuse(err))
		}
	}
}

// setDeadline bounds accept, and reports whether it can.
func (l *listener) setDeadline(t time.Time) bool {
	timed, ok := l.ln.(interface{ SetDeadline(time.Time) error })
	if l.raw != nil && l.raw.file.SetDeadline(t) != nil {
		return false
	}
	return ok && timed.SetDeadline(t) == nil
}

// interrupt makes an accept that waits return.
func (l *listener) interrupt() {
	if !l.setDeadline(time.Unix(1, 0)) {
		l.ln.Close()
	}
}

func (l *listener) close() {
	l.halt()
	if l.raw != nil {
		l.raw.file.Close()
	}
	l.ln.Close()
}
