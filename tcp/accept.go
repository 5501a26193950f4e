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

// acceptLoop accepts from l until the server stops, or the listener fails.
func (s *Server) acceptLoop(l *listener) error {
	backoff := backoff{server: s, addr: l.ln.Addr()}
	for s.admission.wait(s.stopped) {
		freed := backoff.freed()
		a, err := l.accept()
		switch {
		case err == nil:
			backoff.reset()
			s.start(a)
		case s.isStopping(): // stop has interrupted this accept
		case retryable(err):
			backoff.pause(err, freed)
		default:
			return fmt.Errorf("tcp: accept on %s: %w", l.ln.Addr(), err)
		}
	}
	s.sweep(l, sweepWait)
	if unblock := blockSYN(l.ln); unblock != nil {
		defer unblock()
		s.sweep(l, lastWait)
	}
	return ErrServerClosed
}

// sweep accepts the connections that are left in the kernel's queue. Their clients are
// connected, as far as they can tell, and closing the listener would reset them
// (inet_csk_listen_stop in Linux's net/ipv4/inet_connection_sock.c).
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
			s.start(a)
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
	server *Server
	addr   net.Addr

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
// the server stops.
func (b *backoff) pause(err error, freed <-chan struct{}) {
	s := b.server
	s.stats.acceptErrors.Add(1)
	if time.Since(b.last) > episodeGap {
		s.stats.acceptEpisodes.Add(1)
		s.log().Warn("accept failed, trying again", "addr", b.addr.String(), "err", err)
	}
	b.last = time.Now()
	b.next = min(max(2*b.next, firstPause), lastPause)
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-freed:
	case <-s.stopped:
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
