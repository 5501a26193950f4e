package tcp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

const (
	// Failed accepts are tried again after firstPause, doubling to lastPause:
	// what net/http does. A success starts again from firstPause.
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second

	// episodeGap is how long accepts must not fail for the next failure to be
	// worth a new line in the log.
	episodeGap = 5 * time.Second

	// sweepWait is how long a stopping accept loop waits for one more
	// connection, lastWait how long it does when no more can come, sweepTime
	// how long it takes in connections at most.
	sweepWait = 10 * time.Millisecond
	lastWait  = 300 * time.Microsecond
	sweepTime = 200 * time.Millisecond
)

// acceptLoop accepts from l until the server stops, or the listener fails for
// good.
func (s *Server) acceptLoop(l *listener) error {
	backoff := backoff{server: s, addr: l.ln.Addr()}
	for s.admission.wait(s.stopped) {
		freed := backoff.freed()
		a, err := l.accept()
		switch {
		case err == nil:
			backoff.reset()
			s.start(a)
		case s.isStopping(): // and has interrupted this Accept
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

// sweep takes in the connections that the kernel has completed and nobody has
// accepted: to close the listener now would reset them, though their clients
// have every reason to believe that they are connected (inet_csk_listen_stop in
// Linux's net/ipv4/inet_connection_sock.c).
func (s *Server) sweep(l *listener, wait time.Duration) {
	for end := time.Now().Add(sweepTime); time.Now().Before(end); {
		deadline := time.Now().Add(wait)
		if !l.setDeadline(deadline) {
			return
		}
		a, err := l.accept()
		switch {
		case err == nil:
			s.start(a)
		case errors.Is(err, os.ErrDeadlineExceeded):
			if onTime(deadline, wait) {
				return
			}
		case retryable(err):
			time.Sleep(firstPause) // for a descriptor, say; end bounds it
		default:
			return
		}
	}
}

// onTime reports whether an Accept that has just timed out did so when it should.
// Then it has looked into the queue, and found nothing. If it is too early, stop
// has interrupted it instead of the last one; if it is late, the system did not
// run it in time, and it may not have looked at all.
func onTime(deadline time.Time, wait time.Duration) bool {
	late := time.Since(deadline)
	return late >= 0 && late < max(wait/2, 2*time.Millisecond)
}

// backoff is how long to wait after a failed accept.
type backoff struct {
	server *Server
	addr   net.Addr

	next time.Duration // the next pause; zero after a success
	last time.Time     // the last failure
}

// freed returns a channel that is closed when a connection ends, and so a file
// descriptor comes free. It is nil after a success: then nobody asks.
func (b *backoff) freed() <-chan struct{} {
	if b.next == 0 {
		return nil
	}
	return b.server.admission.freed()
}

func (b *backoff) reset() { b.next = 0 }

// pause waits until it makes sense to try again: the time is up, a descriptor
// came free, or the server stops.
func (b *backoff) pause(err error, freed <-chan struct{}) {
	s := b.server
	s.stats.acceptErrors.Add(1)
	if time.Since(b.last) > episodeGap {
		s.stats.acceptEpisodes.Add(1)
		s.log().Warn("accept fails, trying again", "addr", b.addr.String(), "err", err)
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

// retryable reports whether a failed accept is worth another try. The errnos are
// named here because the standard library's Temporary is deprecated and misses
// some of them. A listener that wraps another may say so itself.
func retryable(err error) bool {
	for _, errno := range retryableErrnos {
		if errors.Is(err, errno) {
			return true
		}
	}
	var t interface{ Temporary() bool }
	return !errors.Is(err, net.ErrClosed) && errors.As(err, &t) && t.Temporary()
}
