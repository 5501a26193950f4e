package tcp

import (
	"context"
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
	// connection, sweepTime how long it takes in connections at most.
	sweepWait = 10 * time.Millisecond
	sweepTime = time.Second
)

// acceptLoop accepts from ln until the server stops, or ln fails for good.
func (s *Server) acceptLoop(ctx context.Context, ln net.Listener) error {
	trouble := trouble{server: s, addr: ln.Addr()}
	for {
		placed, ok := s.admission.wait(s.stopped)
		if !ok {
			break
		}
		freed := trouble.freed()
		conn, err := ln.Accept()
		if err == nil {
			trouble.over()
			s.start(ctx, conn, placed)
			continue
		}
		stopping, again := s.isStopping(), passes(err)
		if !stopping && again {
			trouble.pause(err, freed)
		}
		if placed { // after the pause, which a place that comes free would end
			s.admission.giveBack()
		}
		if stopping {
			break
		}
		if !again {
			return fmt.Errorf("tcp: accept on %s: %w", ln.Addr(), err)
		}
	}
	s.sweep(ctx, ln)
	return ErrServerClosed
}

// interrupt makes an Accept that waits return.
func interrupt(ln net.Listener) {
	if d, ok := ln.(deadliner); ok {
		d.SetDeadline(time.Unix(1, 0))
	} else {
		ln.Close()
	}
}

type deadliner interface{ SetDeadline(time.Time) error }

// sweep takes in the connections that the kernel has completed and nobody has
// accepted: to close the listener now would reset them, though their clients
// have every reason to believe that they are connected (inet_csk_listen_stop in
// Linux's net/ipv4/inet_connection_sock.c).
func (s *Server) sweep(ctx context.Context, ln net.Listener) {
	d, ok := ln.(deadliner)
	if !ok {
		return
	}
	for end := time.Now().Add(sweepTime); time.Now().Before(end); {
		deadline := time.Now().Add(sweepWait)
		d.SetDeadline(deadline)
		if !time.Now().Before(deadline) {
			continue // Accept would not even look into the queue
		}
		conn, err := ln.Accept()
		switch {
		case err == nil:
			s.start(ctx, conn, false)
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline):
			// stop has interrupted this Accept instead of the last one.
		default:
			return
		}
	}
}

// trouble is a time in which accepts fail. The zero value but for server and
// addr is a time in which they do not.
type trouble struct {
	server *Server
	addr   net.Addr

	next time.Duration // the next pause; zero after a success
	last time.Time     // the last failure
}

// freed returns a channel that is closed when a connection ends, and so a file
// descriptor comes free. It is nil when there is no trouble: then nobody asks.
func (t *trouble) freed() <-chan struct{} {
	if t.next == 0 {
		return nil
	}
	return t.server.admission.freed()
}

func (t *trouble) over() { t.next = 0 }

// pause waits until it makes sense to try again: the time is up, a descriptor
// came free, or the server stops.
func (t *trouble) pause(err error, freed <-chan struct{}) {
	s := t.server
	s.stats.acceptErrors.Inc()
	if time.Since(t.last) > episodeGap {
		s.log().Warn("accept fails, trying again", "addr", t.addr.String(), "err", err)
	}
	t.last = time.Now()
	t.next = min(max(2*t.next, firstPause), lastPause)
	timer := time.NewTimer(t.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-freed:
	case <-s.stopped:
	}
}

// passes reports whether a failed accept is worth another try. The errnos are
// named here because the standard library's Temporary is deprecated and misses
// some of them. A listener that wraps another may say so itself.
func passes(err error) bool {
	for _, errno := range passing {
		if errors.Is(err, errno) {
			return true
		}
	}
	var t interface{ Temporary() bool }
	return !errors.Is(err, net.ErrClosed) && errors.As(err, &t) && t.Temporary()
}
