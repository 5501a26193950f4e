package tcp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"wireline/internal/netconn"
	"wireline/internal/timeout"
)

// The preamble of a connection is what comes between its accept and its handler: the
// PROXY header and the TLS handshake. Both may have to wait for the client, and then run
// in a goroutine.

// maxPreambleGrace bounds preambleGrace.
const maxPreambleGrace = time.Second

// preambleGrace is how long a preamble may still take that had begun before the server
// stopped. Its client has done nothing wrong: behind a balancer the header is always a
// little behind the connection, and handshakes take their time on a busy machine.
func (d *drain) preambleGrace() time.Duration { return min(maxPreambleGrace, d.limit/4) }

// waitPreambles waits, when no more connections come, until the handler has those whose
// preamble had begun, or preambleGrace is over. Once the handler drains, it takes no more.
func (s *Server) waitPreambles(ctx context.Context) {
	defer s.endPreambles() // also for one of an accept loop that does not end
	if s.preambles.Count() == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.drain.preambleGrace())
	defer cancel()
	if s.preambles.WaitContext(bounded) != nil {
		s.endPreambles()
		s.preambles.WaitWithTimeout(cutGrace)
	}
}

// servePreamble runs the preamble of a connection in a goroutine of its own, and gives it
// to the handler.
func (s *Server) servePreamble(a *accepted, awaitHeader bool) {
	if awaitHeader && !s.comesIn(a) {
		return
	}
	pass := s.pass
	if a.from.tls != nil {
		pass = s.secure
	}
	if serve := pass(a); serve != nil {
		serve()
	}
}

// comesIn waits for the header, and reports whether the client may come in. If not, the preamble
// is over.
func (s *Server) comesIn(a *accepted) (ok bool) {
	returned := false
	defer func() {
		if !returned { // a connection of the user's has panicked
			s.abandon(a, recover())
		}
		if !ok {
			s.preambles.Done()
		}
	}()
	if err := s.awaitHeader(a); err != nil {
		s.refuse(a, err)
	} else {
		ok = s.admit(a)
	}
	returned = true
	return ok
}

// pass ends a preamble: it gives the connection to the handler. It returns what is left to do for
// it in this goroutine.
func (s *Server) pass(a *accepted) (serve func()) {
	defer s.preambles.Done()
	return s.deliver(a)
}

// findHeader looks for a PROXY header, without waiting for it: most clients send it with
// their first packet. It reports whether nothing is left to be waited for. An error means
// that the client is to be refused.
func (s *Server) findHeader(a *accepted) (found bool, err error) {
	p := &a.from.proxyproto
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
	if a.from.raw != nil && a.from.tls == nil {
		return a.detach()
	}
	return nil
}

// readHeader waits for a header, within the timeout. Where it is optional, a peer that
// sends nothing, or too little to tell, has none: it may be waiting for the server to
// speak first.
func (s *Server) readHeader(a *accepted) error {
	conn, until := a.more().conn, time.Now().Add(a.from.proxyproto.timeout)
	conn.SetReadDeadline(until)
	// A peer that has not sent its header when the server stops has no claim on a reply.
	unwatch := context.AfterFunc(s.preambleCtx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	h, err := a.await()
	if !unwatch() {
		return ErrServerClosed // and the deadline is not ours any more
	}
	if err != nil && !time.Now().Before(until) {
		// If the process was stopped (SIGSTOP) for a while, the header may have arrived in time.
		err = timeout.Look(conn, func() (err error) {
			h, err = a.await()
			return err
		})
	}
	conn.SetReadDeadline(time.Time{})
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil:
		return s.takeHeader(a, h)
	case a.from.proxyproto.mode == ProxyProtocolOptional && (silent || errors.Is(err, errNoHeader)):
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
