package tcp

import (
	"context"
	"net"
	"time"

	"wireline/handler"
	"wireline/internal/panics"
)

// listener is a listener that a server serves, and what its connections have in common.
type listener struct {
	server *Server
	ctx    context.Context // of every connection
	ln     net.Listener
	raw    *rawListener // nil where connections come as net.Conn
	plain  bool         // ln is no more than a socket, and the handler takes bare ones
	mode   handler.CloseMode

	// SO_LINGER in seconds, if lingers is set: ln does not pass it on.
	linger  int
	lingers bool
}

// newListener returns the listener for ln. Its connections are closed as Listen was told,
// or as ln's own SO_LINGER says, which they inherit, or else as s is told: then SO_LINGER
// is still to be set.
func (s *Server) newListener(ctx context.Context, ln net.Listener) *listener {
	l := &listener{server: s, ctx: connContext{s.ctx, ctx, panicReporter{s}}, ln: ln}
	l.plain = isPlain(ln) && takesSockets(s.handler())
	if l.plain && s.tls == nil { // a handshake needs a net.Conn anyway
		l.raw = newRawListener(ln)
	}
	mode, err := modeOf(ln)
	if own, ok := ln.(*tunedListener); ok {
		mode = own.mode
	} else if err != nil || mode == handler.CloseDefault {
		mode = s.Linger
		l.linger, l.lingers = soLinger(mode)
	}
	l.mode = mode
	return l
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

func (l *listener) accept() (*accepted, error) {
	if l.raw != nil {
		return l.raw.accept(l)
	}
	conn, err := l.ln.Accept()
	if err != nil {
		return nil, err
	}
	return newAccepted(l, conn), nil
}

// setDeadline bounds accept, and reports whether it can.
func (l *listener) setDeadline(t time.Time) bool {
	if l.raw != nil {
		return l.raw.file.SetDeadline(t) == nil
	}
	timed, ok := l.ln.(interface{ SetDeadline(time.Time) error })
	return ok && timed.SetDeadline(t) == nil
}

// interrupt makes an accept that waits return.
func (l *listener) interrupt() {
	if !l.setDeadline(time.Unix(1, 0)) {
		l.ln.Close()
	}
}

func (l *listener) close() {
	if l.raw != nil {
		l.raw.file.Close()
	}
	l.ln.Close()
}
