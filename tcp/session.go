package tcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"

	"wireline/handler"
	"wireline/lib/sock"
)

// session is a connection as the server knows it: enough to count and to cut it.
type session struct {
	conn net.Conn
	ip   netip.Addr
}

// start admits conn and serves it in a goroutine of its own. Before that it is
// in the server's set and in the handler's, so that a stop in between misses
// it in neither. placed tells that it has a place already.
func (s *Server) start(ctx context.Context, conn net.Conn, placed bool) {
	if !placed && !s.admission.try() {
		s.turnAway(conn)
		return
	}
	ses := &session{conn: conn, ip: peerIP(conn)}
	if !s.admission.enter(ses.ip) {
		s.admission.giveBack()
		s.stats.refusedPerIP.Inc()
		s.log().Debug("refused", "peer", conn.RemoteAddr().String(), "max_clients_per_ip", s.MaxClientsPerIP)
		sock.Reset(conn)
		return
	}
	s.stats.accepted.Inc()
	s.serving.Add(1)
	s.mu.Lock()
	s.sessions[ses] = struct{}{}
	s.mu.Unlock()
	serve := s.register(ctx, ses)
	go s.serve(ses, serve)
}

// turnAway answers a client that finds the server full: with a reset, or when
// it was found in the queue of a listener that is about to close, where it had
// been told to wait, with a FIN.
func (s *Server) turnAway(conn net.Conn) {
	if s.WhenFull != Refuse {
		conn.Close()
		return
	}
	s.stats.refusedFull.Inc()
	s.log().Debug("refused", "peer", conn.RemoteAddr().String(), "max_clients", s.MaxClients)
	sock.Reset(conn)
}

// register gives the connection to the handler and returns what is left to do
// in its goroutine.
func (s *Server) register(ctx context.Context, ses *session) func() {
	h := s.handler()
	if r, ok := h.(handler.Registrar); ok {
		return r.Register(ctx, ses.conn)
	}
	return func() {
		defer ses.conn.Close() // in case that the handler does not
		h.Handle(ctx, ses.conn)
	}
}

// serve runs in the connection's goroutine.
func (s *Server) serve(ses *session, serve func()) {
	defer s.end(ses)
	defer s.recoverPanic(ses)
	serve()
}

// recoverPanic keeps a handler's panic to its connection.
func (s *Server) recoverPanic(ses *session) {
	p := recover()
	if p == nil {
		return
	}
	s.stats.panics.Inc()
	s.log().Error("handler panicked", "peer", ses.conn.RemoteAddr().String(),
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	ses.conn.Close()
}

// end forgets a connection. It comes last, when its descriptor is free again.
func (s *Server) end(ses *session) {
	s.mu.Lock()
	delete(s.sessions, ses)
	s.mu.Unlock()
	s.admission.leave(ses.ip)
	s.serving.Done()
}

// discard is the codec of a server without a handler: it skips all.
type discard struct{}

func (discard) Split(buf []byte, _ int, _ bool) ([]byte, int, error) { return nil, len(buf), nil }

func (discard) Append(dst, payload []byte) ([]byte, error) { return append(dst, payload...), nil }
