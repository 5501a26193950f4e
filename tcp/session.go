package tcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
)

// dismissTime is how long a client that is turned away in a drain has to close
// its side.
const dismissTime = 100 * time.Millisecond

// session is a connection as the server knows it: enough to count and to cut it.
type session struct {
	server *Server
	conn   net.Conn
	ip     netip.Addr

	// Under the server's mu.
	forgotten bool // ended, or released
	cut       bool
}

// start finds a place for a connection, and goes on with it when its header is there,
// if it is to have one.
func (s *Server) start(d *door, a arrival) {
	if !s.admission.place(s.stopped) {
		s.turnAway(a)
		return
	}
	switch state, err := s.greet(&a); state {
	case refused:
		s.refuse(a, err)
	case waiting:
		s.serving.Add(1)
		s.greeting.Add(1)
		go s.awaitHeader(d, a)
	default:
		s.admit(d, a)
	}
}

// admit serves a connection, on the handler's own terms or in a goroutine. Before that
// it is in the server's count and in the handler's set, so that a stop in between
// misses it in neither.
func (s *Server) admit(d *door, a arrival) {
	ip := a.ip()
	if !s.admission.enter(ip) {
		s.admission.giveBack()
		s.stats.refusedPerIP.Add(1)
		s.log().Debug("refused", "peer", ip.String(), "max_clients_per_ip", s.MaxClientsPerIP)
		a.reset()
		return
	}
	s.stats.accepted.Add(1)
	s.serving.Add(1)
	if d.lingers {
		a.setLinger(d.linger)
	}
	if a.conn == nil && s.tls == nil && s.offer(d, &a) {
		return
	}
	if err := a.makeConn(); err != nil {
		s.log().Warn("connection lost", "peer", ip.String(), "err", err)
		s.admission.leave(ip)
		s.serving.Done()
		return
	}
	ses := &session{server: s, conn: a.header.announce(a.conn), ip: ip}
	s.mu.Lock()
	s.sessions[ses] = struct{}{}
	s.mu.Unlock()
	ctx := handler.WithRelease(a.header.with(d.ctx), ses.forget)
	if s.tls != nil {
		s.greeting.Add(1)
		go s.serve(ses, func() { s.handshake(ctx, ses) })
	} else if serve := s.register(ctx, ses); serve != nil {
		go s.serve(ses, serve)
	}
}

// turnAway answers a client that finds the server full. Where it is to wait it
// was found in the queue of a listener that is about to close, and gets a FIN.
func (s *Server) turnAway(a arrival) {
	if s.WhenFull == Refuse {
		s.stats.refusedFull.Add(1)
		s.log().Debug("refused", "peer", a.ip().String(), "max_clients", s.MaxClients)
		a.reset()
		return
	}
	if a.makeConn() != nil {
		return
	}
	s.serving.Add(1)
	go s.dismiss(a.conn)
}

// dismiss closes conn with a FIN: what it has sent already is read, or the
// kernel would make a reset of it.
func (s *Server) dismiss(conn net.Conn) {
	defer s.serving.Done()
	netconn.Linger(conn, dismissTime)
}

// register gives the connection to the handler and returns what is left to do
// in its goroutine: nothing if the handler panics.
func (s *Server) register(ctx context.Context, ses *session) (serve func()) {
	h := s.handler()
	r, ok := h.(handler.Registrar)
	if !ok {
		return func() {
			defer ses.close() // in case that the handler does not
			h.Handle(ctx, ses.conn)
		}
	}
	defer func() {
		if serve == nil {
			s.failed(ses, recover())
			ses.forget()
		}
	}()
	return r.Register(ctx, ses.conn)
}

// serve runs in the connection's goroutine. A panic costs this connection only,
// and so does runtime.Goexit.
func (s *Server) serve(ses *session, serve func()) {
	defer ses.forget() // last, when the descriptor is free again
	returned := false
	defer func() {
		if !returned {
			s.failed(ses, recover())
		}
	}()
	serve()
	returned = true
}

// failed reports a handler that did not return: it panicked with p, or ended its
// goroutine.
func (s *Server) failed(ses *session, p any) {
	s.reportPanic(peer(ses.conn), p)
	ses.close()
}

// reportPanic is called by the function that recovers.
func (s *Server) reportPanic(peer string, p any) {
	s.stats.panics.Add(1)
	what := "runtime.Goexit"
	if p != nil {
		what = fmt.Sprint(p)
	}
	s.log().Error("handler panicked", "peer", peer, "panic", what, "stack", string(debug.Stack()))
}

// forget ends the server's interest in a connection: it is over, or it has a new
// owner. What counts is the first call.
func (ses *session) forget() {
	s := ses.server
	s.mu.Lock()
	first := !ses.forgotten
	ses.forgotten = true
	delete(s.sessions, ses)
	s.mu.Unlock()
	if first {
		s.admission.leave(ses.ip)
		s.serving.Done()
	}
}

// close closes the connection, unless it has a new owner.
func (ses *session) close() {
	ses.server.mu.Lock()
	released := ses.forgotten
	ses.server.mu.Unlock()
	if !released {
		ses.conn.Close()
	}
}

// peer is the client's address for the log.
func peer(conn net.Conn) string {
	if addr := conn.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// discard is the codec of a server without a handler: it skips all.
type discard struct{}

func (discard) Split(buf []byte, _ int, _ bool) ([]byte, int, error) { return nil, len(buf), nil }

func (discard) Append(dst, payload []byte) ([]byte, error) { return append(dst, payload...), nil }
