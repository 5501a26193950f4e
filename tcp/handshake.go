package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"wireline/internal/handshakes"
	"wireline/internal/netconn"
	"wireline/internal/timeout"
	"wireline/internal/transport"
)

// errHandshakeTimeout is why a handshake has failed that has taken too long.
var errHandshakeTimeout = fmt.Errorf("handshake timeout: %w", os.ErrDeadlineExceeded)

// errSilent wraps the error of a handshake whose client has ended the connection without a
// byte.
type errSilent struct{ error }

func (e errSilent) Unwrap() error { return e.error }

// secure ends a preamble: it makes the TLS handshake, and gives the connection to the handler. It
// returns what is left to do for it in this goroutine. If the handshake takes too long, another
// goroutine ends the connection: a function of Server.TLSConfig may block this one.
func (s *Server) secure(a *accepted) (serve func()) {
	beneath, err := a.Conn()
	if err != nil {
		s.preambles.Done()
		return func() { s.handshakeFailed(a, err) }
	}
	limit := timeout.New(connContext{s.preambleCtx, a.Context(), panicReporter{s}}, a.from.handshakeTimeout(), errHandshakeTimeout)
	defer limit.Stop()
	bounded := s.handshakes.Conn(limit, limit.Conn(beneath))
	defer bounded.Done()
	conn := s.tlsServer(bounded, a.from.tls)
	s.track(a)
	began := time.Now()
	err, mine := s.handshakes.Make(limit, handshakes.Handshake{
		Conn: conn,
		Abandoned: func() {
			s.preambles.Done()
			s.handshakeFailed(a, context.Cause(limit))
		},
		Panicked: func(v any, abandoned bool) {
			if abandoned {
				a.Panicked(v)
				return
			}
			defer s.preambles.Done()
			s.abandon(a, v)
		},
	})
	bounded.Done()
	if !mine {
		return nil
	}
	bounded.Conn = beneath // the timeout is not to stay in memory
	defer s.preambles.Done()
	if err != nil {
		if !bounded.Received() && (errors.Is(err, io.EOF) || netconn.IsReset(err)) {
			err = errSilent{err}
		}
		return func() { s.handshakeFailed(a, err) }
	}
	s.handshakeTimes.Observe(time.Since(began))
	s.adopt(a, conn, beneath)
	return s.deliver(a)
}

// adopt makes conn, whose handshake over beneath is complete, the connection.
func (s *Server) adopt(a *accepted, conn *tls.Conn, beneath net.Conn) {
	a.setTLS(conn)
	t := transport.Of(conn)
	if t == nil {
		return
	}
	t.SetBase(beneath)
	if a.from.raw == nil {
		return
	}
	s.untrack(a) // nobody may reset it while it changes; the handler cuts it from now on
	if a.detach() == nil {
		t.SetBase(nil) // it is closed
		t.SetSocket(a.takeSocket)
	}
}

// tlsServer returns the server's end of a TLS connection, for an Acceptor one that a poller can
// serve.
func (s *Server) tlsServer(conn net.Conn, cfg *tls.Config) *tls.Conn {
	if takesSockets(s.handler()) {
		return transport.Server(conn, cfg).Conn()
	}
	return tls.Server(conn, cfg)
}

// handshakeFailed closes a connection so that the client sees the alert.
func (s *Server) handshakeFailed(a *accepted, err error) {
	s.stats.failedHandshakes.Add(1)
	_, isProbe := err.(errSilent)
	s.notServed(a, causeHandshake, err, isProbe)
	if conn := a.more().conn; conn != nil { // otherwise no descriptor was left for one
		netconn.Linger(conn, rejectTime)
	}
	s.untrack(a)
	a.Done()
}
