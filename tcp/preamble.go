package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/transport"
)

// The preamble of a connection is what comes between its accept and its handler: the
// PROXY header and the TLS handshake. Both may have to wait for the client, and then run
// in a goroutine.

// preambleGrace is how long a preamble may still take that had begun before the server
// stopped. Its client has done nothing wrong: behind a balancer the header is always a
// little behind the connection.
const preambleGrace = 200 * time.Millisecond

// waitPreambles waits, when no more connections come, until the handler has those whose
// preamble had begun, or preambleGrace is over. Once the handler drains, it takes no more.
func (s *Server) waitPreambles(ctx context.Context) {
	defer s.endPreambles() // also for one of an accept loop that does not end
	if s.preambles.Count() == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, preambleGrace)
	defer cancel()
	if s.preambles.WaitContext(bounded) != nil {
		s.endPreambles()
		s.preambles.WaitWithTimeout(cutGrace)
	}
}

// servePreamble runs the preamble of a connection in a goroutine of its own, and gives it
// to the handler.
func (s *Server) servePreamble(a *accepted, awaitHeader bool) {
	if serve := s.runPreamble(a, awaitHeader); serve != nil {
		serve()
	}
}

// runPreamble waits for the header if there may be one, and makes the TLS handshake if
// there is to be one. Then it gives the connection to the handler, and returns what is
// left to do for it in this goroutine.
func (s *Server) runPreamble(a *accepted, awaitHeader bool) (serve func()) {
	defer s.preambles.Done()
	returned := false
	defer func() {
		if !returned { // a function of the user's in Server.TLSConfig has panicked
			s.abandon(a, recover())
		}
	}()
	serve = s.preamble(a, awaitHeader)
	returned = true
	return serve
}

func (s *Server) preamble(a *accepted, awaitHeader bool) (serve func()) {
	if awaitHeader {
		if err := s.awaitHeader(a); err != nil {
			s.refuse(a, err)
			return nil
		}
		if !s.admit(a) {
			return nil
		}
	}
	if s.tls != nil {
		if err := s.handshake(a); err != nil {
			return func() { s.handshakeFailed(a, err) }
		}
	}
	return s.deliver(a)
}

// findHeader looks for a PROXY header, without waiting for it: most clients send it with
// their first packet. It reports whether nothing is left to be waited for. An error means
// that the client is to be refused.
func (s *Server) findHeader(a *accepted) (found bool, err error) {
	p := &s.proxyproto
	if p.mode == ProxyProtocolOff {
		return true, nil
	}
	if !p.trusts(a) {
		if p.mode == ProxyProtocolRequired {
			return false, errUntrusted
		}
		return true, nil
	}
	h, err := a.peek()
	switch {
	case err == nil:
		err = s.takeHeader(a, h)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return false, nil
	case errors.Is(err, errNoHeader) && p.mode == ProxyProtocolOptional:
		err = nil
	}
	return err == nil, err
}

// takeHeader takes h off the connection, and counts it if it is a balancer's own.
func (s *Server) takeHeader(a *accepted, h header) error {
	err := a.takeHeader(h)
	if err == nil && a.Local() {
		s.stats.probes.Add(1)
	}
	return err
}

// awaitHeader waits for a PROXY header.
func (s *Server) awaitHeader(a *accepted) error {
	if _, err := a.Conn(); err != nil {
		return err
	}
	if err := s.readHeader(a); err != nil {
		return err
	}
	if a.from.raw != nil {
		return a.detach()
	}
	return nil
}

// readHeader waits for a header, within the timeout. Where it is optional, a peer that
// sends nothing, or too little to tell, has none: it may be waiting for the server to
// speak first.
func (s *Server) readHeader(a *accepted) error {
	conn := a.more().conn
	conn.SetReadDeadline(time.Now().Add(s.proxyproto.timeout))
	// A peer that has not sent its header when the server stops has no claim on a reply.
	unwatch := context.AfterFunc(s.preambleCtx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	h, err := a.await()
	if !unwatch() {
		return ErrServerClosed // and the deadline is not ours any more
	}
	conn.SetReadDeadline(time.Time{})
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil:
		return s.takeHeader(a, h)
	case s.proxyproto.mode == ProxyProtocolOptional && (silent || errors.Is(err, errNoHeader)):
		return nil
	case silent:
		return errNoHeader
	}
	return err
}

// refuse resets a connection because of err, which its header has caused.
func (s *Server) refuse(a *accepted, err error) {
	if !errors.Is(err, ErrServerClosed) {
		s.stats.refusedHeader.Add(1)
		why := causeHeader
		if errors.Is(err, errUntrusted) {
			why = causeUntrusted
		}
		s.notServed(a, why, err, errors.Is(err, errNothing) || netconn.IsReset(err))
	}
	a.reset()
	a.Done()
}

// notServed notes a connection that err keeps from the handler. A probe is not worth a line.
func (s *Server) notServed(a *accepted, why cause, err error, isProbe bool) {
	if !isProbe {
		s.refusals.add(why, a.peer(), slog.String("err", err.Error()))
		return
	}
	a.Probed()
	s.log().Debug("probe", "peer", a.peer(), "err", err)
}

// errSilent wraps the error of a handshake whose client has ended the connection without a
// byte.
type errSilent struct{ error }

func (e errSilent) Unwrap() error { return e.error }

// handshake makes the TLS handshake. The server cuts the connection itself meanwhile.
func (s *Server) handshake(a *accepted) error {
	beneath, err := a.Conn()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(connContext{s.preambleCtx, a.Context(), panicReporter{s}}, s.handshakeTimeout())
	defer cancel()
	bounded := s.handshakes.Conn(ctx, beneath)
	defer bounded.Done()
	conn := s.tlsServer(bounded)
	s.track(a)
	if err := conn.HandshakeContext(ctx); err != nil {
		if !bounded.Received() && (errors.Is(err, io.EOF) || netconn.IsReset(err)) {
			err = errSilent{err}
		}
		return err
	}
	a.setTLS(conn)
	t := transport.Of(conn)
	if t == nil {
		return nil
	}
	t.SetBase(beneath)
	if !a.from.plain {
		return nil
	}
	s.untrack(a) // nobody may reset it while it changes; the handler cuts it from now on
	if a.detach() == nil {
		t.SetBase(nil) // it is closed
		t.SetSocket(a.takeSocket)
	}
	return nil
}

// tlsServer returns the server's end of a TLS connection, for an Acceptor one that a poller can
// serve.
func (s *Server) tlsServer(conn net.Conn) *tls.Conn {
	if takesSockets(s.handler()) {
		return transport.Server(conn, s.tls).Conn()
	}
	return tls.Server(conn, s.tls)
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
