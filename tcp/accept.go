package tcp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

const (
	// A failed accept is tried again after firstPause, doubling to lastPause, as in
	// net/http. A success starts again from firstPause.
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second

	// episodeGap is the time without a failed accept after which the next failure
	// gets a line in the log again.
	episodeGap = 5 * time.Second

	// sweepWait is how long a stopping accept loop waits for one more connection,
	// lastWait the same once no more can come. sweepTime bounds the whole sweep.
	sweepWait = 10 * time.Millisecond
	lastWait  = 300 * time.Microsecond
	sweepTime = 200 * time.Millisecond
)

// errRetired is why an accept loop has ended whose listener is to be emptied and closed by another
// goroutine.
var errRetired = errors.New("tcp: listener retired")

// acceptError is why a listener has failed.
type acceptError struct {
	addr net.Addr // of the listener
	err  error
}

func (e *acceptError) Error() string { return fmt.Sprintf("tcp: accept on %s: %v", e.addr, e.err) }

func (e *acceptError) Unwrap() error { return e.err }

// acceptLoop accepts from l until the server stops, the listener retires, or the listener fails.
func (s *Server) acceptLoop(l *listener) error {
	backoff := backoff{server: s, listener: l}
	for s.admission.wait(l.stopped) {
		freed := backoff.freed()
		a, err := l.accept()
		switch {
		case err == nil:
			backoff.reset()
			if !l.forward(a) {
				s.start(a)
			}
		case isClosed(l.stopped): // stop, or retire, has interrupted this accept
		case retryable(err):
			backoff.pause(err, freed)
		default:
			return &acceptError{l.ln.Addr(), err}
		}
	}
	switch {
	case l.given.Load(): // what is in its queue is another server's
		return ErrServerClosed
	case !s.isStopping():
		return errRetired
	}
	s.empty(l)
	return ErrServerClosed
}

// empty accepts what is left in the kernel's queue, after the last accept of the loop. To the queue
// of a listener that retires nobody comes any more, where the kernel can be told: its clients may have
// to wait until the server has a place, and others would come meanwhile without an end.
func (s *Server) empty(l *listener) {
	if s.isStopping() {
		s.sweep(l, sweepWait)
	}
	unblock := blockSYN(l.ln)
	switch {
	case unblock != nil:
		defer unblock()
		s.sweep(l, lastWait)
	case !s.isStopping():
		s.sweep(l, sweepWait)
	}
}

// sweep accepts the connections that are left in the kernel's queue. Their clients are
// connected, as far as they can tell, and closing the listener would reset them
// (inet_csk_listen_stop in Linux's net/ipv4/inet_connection_sock.c). The time in which they wait
// for a place, if the server goes on without the listener, does not count.
func (s *Server) sweep(l *listener, wait time.Duration) {
	for end := time.Now().Add(sweepTime); time.Now().Before(end); {
		deadline := time.Now().Add(wait)
		if !l.setDeadline(deadline) {
			return
		}
		began := time.Now()
		a, err := l.accept()
		switch {
		case err == nil:
			came := time.Now()
			s.start(a)
			if took := time.Since(came); took > sweepWait { // for a place
				end = end.Add(took)
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if onTime(began, deadline, wait) {
				return
			}
		case retryable(err):
			time.Sleep(firstPause) // a descriptor may come free
		default:
			return
		}
	}
}

// onTime reports whether an accept that has timed out began well before its deadline, and
// timed out at it. Then it has found the queue empty. If it was early, stop has interrupted
// it; if it began or ended late, this goroutine did not run in time, and may not have looked
// into the queue at all: package net does not, after the deadline.
func onTime(began, deadline time.Time, wait time.Duration) bool {
	late := time.Since(deadline)
	return deadline.Sub(began) > wait/2 && late >= 0 && late < max(wait/2, 2*time.Millisecond)
}

// backoff decides how long to wait after a failed accept.
type backoff struct {
	server   *Server
	listener *listener

	next time.Duration // the next pause; zero after a success
	last time.Time     // the last failure
}

// freed returns a channel that is closed when a connection ends, because a file
// descriptor comes free then. It returns nil after a success: the channel is not needed.
func (b *backoff) freed() <-chan struct{} {
	if b.next == 0 {
		return nil
	}
	return b.server.admission.freed()
}

func (b *backoff) reset() { b.next = 0 }

// pause waits until the next attempt: for the pause, or until a descriptor comes free or
// the listener is to be closed.
func (b *backoff) pause(err error, freed <-chan struct{}) {
	s := b.server
	s.stats.acceptErrors.Add(1)
	if time.Since(b.last) > episodeGap {
		s.stats.acceptEpisodes.Add(1)
		s.log().Warn("accept failed, trying again", "addr", b.listener.ln.Addr().String(), "err", err)
	}
	b.last = time.Now()
	b.next = min(max(2*b.next, firstPause), lastPause)
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-freed:
	case <-b.listener.stopped:
	}
}

// retryable reports whether to try again after a failed accept. The errnos are listed,
// because Temporary of the standard library is deprecated and misses some of them. A
// listener with errors of its own can use Temporary.
func retryable(err error) bool {
	for _, errno := range retryableErrnos {
		if errors.Is(err, errno) {
			return true
		}
	}
	var t interface{ Temporary() bool }
	return !errors.Is(err, net.ErrClosed) && errors.As(err, &t) && t.Temporary()
}
