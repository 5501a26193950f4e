package tcp

import (
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
)

// rejectTime is how long a client that is rejected with a FIN has to close its side.
const rejectTime = 100 * time.Millisecond

// start takes in a connection that was just accepted. It does not wait for the client:
// where that is necessary, a goroutine does.
func (s *Server) start(a *accepted) {
	if a.from.memory.Overrun() {
		s.rejectMemory(a)
		return
	}
	if !s.admission.place(s.stopped) {
		s.reject(a)
		return
	}
	s.serving.Add(1)
	found, err := s.findHeader(a)
	switch {
	case err != nil:
		s.refuse(a, err)
	case !found:
		s.preambles.Add(1)
		go s.servePreamble(a, true)
	case !s.admit(a):
	case a.from.tls != nil:
		s.preambles.Add(1)
		go s.servePreamble(a, false)
	default:
		if serve := s.deliver(a); serve != nil {
			go serve()
		}
	}
}

// reject turns away a client that finds the server full. Where clients are to wait,
// it was in the queue of a listener that is about to close, and gets a FIN.
func (s *Server) reject(a *accepted) {
	set := s.settings.Load() // as admission.place
	s.stats.refusedFull.Add(1)
	s.refusals.add(causeFull, a.peer(), slog.Int("max_clients", set.MaxClients))
	if set.refuses() {
		a.reset()
		return
	}
	if conn, err := a.Conn(); err == nil {
		s.serving.Add(1)
		go s.rejectGently(conn)
	}
}

// rejectMemory resets a client because much more than MaxBuffered is buffered.
func (s *Server) rejectMemory(a *accepted) {
	s.stats.refusedMemory.Add(1)
	s.refusals.add(causeMemory, a.peer(), slog.Int64("max_buffered", a.from.memory.Limit))
	a.reset()
}

// rejectGently closes conn with a FIN. Input that was not read would turn that into a
// RST, so it is read.
func (s *Server) rejectGently(conn net.Conn) {
	defer s.serving.Done()
	netconn.Linger(conn, rejectTime)
}

// admit counts a connection for its address, and reports whether it may come in. If not,
// it is closed.
func (s *Server) admit(a *accepted) bool {
	if v := s.admission.enter(a.from.settings, a.clientIP()); v != admitted {
		s.rejectAddress(a, v)
		return false
	}
	a.kind |= counted
	if a.from.lingers {
		a.setLinger(a.from.linger)
	}
	return true
}

// rejectAddress resets a client whose address may not come in.
func (s *Server) rejectAddress(a *accepted, v verdict) {
	switch v {
	case denied:
		s.stats.refusedDenied.Add(1)
		s.refusals.add(causeDenied, a.peer(), slog.String("denied", a.clientIP().String()))
	case overPerIP:
		s.stats.refusedPerIP.Add(1)
		s.refusals.add(causePerIP, a.peer(), slog.Int("max_clients_per_ip", a.from.MaxClientsPerIP))
	case overPerPrefix:
		s.stats.refusedPerPrefix.Add(1)
		s.refusals.add(causePerPrefix, a.peer(), slog.Int("max_clients_per_prefix", a.from.MaxClientsPerPrefix))
	}
	a.reset()
	a.Done()
}

// deliver gives the handler an admitted connection. For a plain handler it returns the
// function that serves the connection, for a goroutine; the connection is in the
// server's set already, so that a stop does not miss it.
func (s *Server) deliver(a *accepted) (serve func()) {
	s.stats.accepted.Add(1)
	if s.isStopping() {
		a.kind |= late
	}
	if h, ok := s.handler().(handler.Acceptor); ok {
		if a.from.tls != nil {
			s.untrack(a) // the handler cuts it from now on
		}
		s.callAccept(h, a)
		return nil
	}
	conn, err := a.Conn()
	if err != nil {
		a.Done()
		return nil
	}
	s.track(a)
	return func() { s.serve(a, conn) }
}

// takesSockets reports whether h may put its connections on pollers. A *handler.Plain never does,
// and package net makes a connection with fewer system calls than netconn.Attach.
func takesSockets(h handler.Handler) bool {
	if _, ok := h.(*handler.Plain); ok {
		return false
	}
	_, ok := h.(handler.Acceptor)
	return ok
}

// callAccept calls Accept of the handler. A panic costs this connection only.
func (s *Server) callAccept(h handler.Acceptor, a *accepted) {
	returned := false
	defer func() {
		if !returned {
			s.abandon(a, recover())
		}
	}()
	h.Accept(a)
	returned = true
}

// serve calls Handle of the handler, in the connection's goroutine. A panic costs this
// connection only, and so does runtime.Goexit.
func (s *Server) serve(a *accepted, conn net.Conn) {
	defer a.Done()
	defer s.untrack(a)
	returned := false
	defer func() {
		if !returned {
			a.Panicked(recover())
		}
	}()
	defer conn.Close() // in case that the handler does not
	s.handler().Handle(a.Context(), conn)
	returned = true
}

// abandon is the end of a connection that the handler does not have, because what was to
// give it to the handler has panicked with v, or has ended its goroutine.
func (s *Server) abandon(a *accepted, v any) {
	a.Panicked(v)
	s.untrack(a)
	if !a.over.Load() {
		a.close()
	}
	a.Done()
}

// reportPanic is called by the function that recovers.
func (s *Server) reportPanic(peer string, v any) {
	s.stats.panics.Add(1)
	what := "runtime.Goexit"
	if v != nil {
		what = fmt.Sprint(v)
	}
	s.log().Error("handler panicked", "peer", peer, "panic", what, "stack", string(debug.Stack()))
}

// track puts a connection into the set of those that the server itself cuts.
func (s *Server) track(a *accepted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracked[a] = struct{}{}
}

func (s *Server) untrack(a *accepted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tracked, a)
}
