package tcp

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// What comes between the accept of a connection and its handler: the header of the
// PROXY protocol, and TLS (tls.go). Both wait for the peer, so they have a goroutine.

// stopGrace is how long a connection that had come before the server stopped may still
// take for that. Its client has done nothing wrong: behind a balancer the header is
// always a little behind the connection.
const stopGrace = 200 * time.Millisecond

// waitGreeting waits, when no more connections come, until the handler has those that
// are greeting, or their time is up. After the handler has begun its drain it takes no
// more.
func (s *Server) waitGreeting(ctx context.Context) {
	defer s.endGreetings() // also for one of an accept loop that does not end
	if s.greeting.Count() == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	if s.greeting.WaitContext(bounded) != nil {
		s.endGreetings()
		s.greeting.WaitWithTimeout(cutGrace)
	}
}

// greeting is what is to be done about a connection's header.
type greeting int

const (
	greeted greeting = iota // it has none, or was it read
	waiting                 // it may still come
	refused
)

// greet looks for a header, without waiting for it: most have it with their first
// packet.
func (s *Server) greet(a *arrival) (greeting, error) {
	if s.announcing.mode == ProxyOff {
		return greeted, nil
	}
	if !s.announcing.trusts(a) {
		if s.announcing.mode == ProxyRequired {
			return refused, errUntrusted
		}
		return greeted, nil
	}
	h, err := a.peek()
	switch {
	case err == nil:
		err = a.take(h)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return waiting, nil
	case errors.Is(err, errNoHeader) && s.announcing.mode == ProxyOptional:
		err = nil
	}
	if err != nil {
		return refused, err
	}
	return greeted, nil
}

// awaitHeader waits for a header, in a goroutine, and goes on with the connection.
func (s *Server) awaitHeader(d *door, a arrival) {
	defer s.serving.Done()
	defer s.greeting.Done()
	err := a.makeConn()
	if err == nil {
		err = s.readHeader(&a)
	}
	if err == nil {
		err = a.unmakeConn()
	}
	if err != nil {
		s.refuse(a, err)
		return
	}
	s.admit(d, a)
}

// readHeader waits for a header, but not for ever. Where it is optional, a peer that
// says nothing, or not enough to tell, has none: it may be waiting for the server to
// speak first.
func (s *Server) readHeader(a *arrival) error {
	conn := a.conn
	conn.SetReadDeadline(time.Now().Add(s.announcing.timeout))
	// Nothing was promised to who has not said who he is even then.
	unwatch := context.AfterFunc(s.greetings, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	h, err := a.await()
	if !unwatch() {
		return ErrServerClosed // and the deadline is not ours any more
	}
	conn.SetReadDeadline(time.Time{})
	silent := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil:
		return a.take(h)
	case s.announcing.mode == ProxyOptional && (silent || errors.Is(err, errNoHeader)):
		return nil
	case silent:
		return errNoHeader
	}
	return err
}

// refuse turns a connection away that has a place, because of err.
func (s *Server) refuse(a arrival, err error) {
	s.admission.giveBack()
	if !errors.Is(err, ErrServerClosed) {
		s.stats.refusedHeader.Add(1)
		s.log().Debug("refused", "peer", a.who(), "err", err)
	}
	a.reset()
}
