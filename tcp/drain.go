package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
)

const (
	// cutGrace is how long the server waits for connections that it has cut
	// to be done, and for a handler that is to cut them itself. Only a handler
	// that works on without its connection takes longer, and is left behind.
	cutGrace = 500 * time.Millisecond

	// doneGrace is the moment that a goroutine needs to end once its handler
	// is done with the connection.
	doneGrace = 10 * time.Millisecond
)

// DrainStats tells what a drain did.
type DrainStats struct {
	handler.DrainStats
	Took time.Duration
}

// drain is the end of a server. It happens once, whoever calls for it.
type drain struct {
	once  sync.Once
	began time.Time

	// ctx ends when the first of those who called for it has no more patience.
	ctx  context.Context
	stop context.CancelCauseFunc

	done chan struct{} // closed at its end
	err  error         // then
	cuts int           // connections reset by the server; under the server's mu

	stats DrainStats // under the server's mu
}

func (d *drain) init() {
	d.ctx, d.stop = context.WithCancelCause(context.Background())
	d.done = make(chan struct{})
}

// Shutdown stops the server in good order: it takes in what waits in the
// kernel's queue, closes the listeners, gives a moment to those that are still to
// send a PROXY header or to agree on TLS, then drains the handler, all connections
// at the same time. What is left when ctx ends is reset, and the
// error is ErrCut. There is one drain: a further call waits for its end, returns
// the same error, and cuts it short when its ctx ends sooner. It waits for the
// handlers: one of them must not call it with a ctx that does not end.
//
// A listener without SetDeadline, as crypto/tls makes them, is closed without a
// look into its queue.
func (s *Server) Shutdown(ctx context.Context) error {
	s.beginDrain()
	s.stop()
	unwatch := context.AfterFunc(ctx, func() { s.drain.stop(context.Cause(ctx)) })
	defer unwatch()
	s.drain.once.Do(func() { go s.runDrain() })
	<-s.drain.done // bounded by ctx
	return s.drain.err
}

// beginDrain calls OnDrain, once.
func (s *Server) beginDrain() {
	if s.OnDrain != nil {
		s.onDrain.Do(s.OnDrain)
	}
}

// Close stops the server at once: connections are reset.
func (s *Server) Close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ended); !errors.Is(err, ErrCut) {
		return err
	}
	return nil
}

// Drained tells what Shutdown did; zero until it is done.
func (s *Server) Drained() DrainStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drain.stats
}

// runDrain is the drain. Every step ends with the drain's context, or soon
// after.
func (s *Server) runDrain() {
	d := &s.drain
	defer close(d.done)
	s.waitAccepting(d.ctx)
	s.waitPreambles(d.ctx)
	open := s.open()
	d.err = s.stopHandler(d.ctx)
	if why := s.serving.WaitContext(d.ctx); why != nil {
		d.err = joinCut(d.err, s.cutRest(), why)
	}
	s.cut()
	s.noteDrain(open)
}

// waitAccepting waits for the accept loops to take in what waits and to end.
func (s *Server) waitAccepting(ctx context.Context) {
	if s.accepting.WaitContext(ctx) == nil {
		return
	}
	s.mu.Lock()
	for l := range s.listeners {
		l.close()
	}
	s.mu.Unlock()
	s.accepting.WaitWithTimeout(cutGrace)
}

func (s *Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tracked)
}

// stopHandler lets the handler drain its clients, and returns when it is done
// or, at the end of ctx, has had its chance to cut them. A handler that has only
// Close has a bound of its own, which may be longer: its connections are cut
// under its hands.
func (s *Server) stopHandler(ctx context.Context) error {
	h, called := s.handler(), "Close"
	closed := make(chan error, 1)
	soft, ok := h.(handler.Shutdowner)
	if ok {
		called = "Shutdown"
		go func() { closed <- soft.Shutdown(ctx) }()
	} else {
		go func() { closed <- h.Close() }()
	}
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	if ok {
		if err, in := receive(closed, cutGrace); in {
			return err
		}
	}
	n := s.cutRest()
	err, in := receive(closed, cutGrace)
	if !in {
		err = fmt.Errorf("tcp: %T.%s does not return", h, called)
	}
	return joinCut(err, n, context.Cause(ctx))
}

// receive waits for a value, but at most for d.
func receive(c <-chan error, d time.Duration) (err error, ok bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err = <-c:
		return err, true
	case <-timer.C:
		return nil, false
	}
}

// joinCut adds to err that n connections were cut, unless it says so already.
func joinCut(err error, n int, why error) error {
	if n == 0 || errors.Is(err, ErrCut) {
		return err
	}
	cut := fmt.Errorf("%w: %d connections: %w", ErrCut, n, why)
	if err == nil {
		return cut
	}
	return errors.Join(cut, err)
}

// cutRest resets the connections that are left, waits a moment for their
// handlers to notice, and returns how many there were.
func (s *Server) cutRest() int {
	s.cut()
	if !s.serving.WaitWithTimeout(doneGrace) {
		return 0
	}
	s.mu.Lock()
	n := len(s.tracked)
	for a := range s.tracked {
		delete(s.tracked, a)
		s.drain.cuts++
		netconn.Reset(a.current())
	}
	s.mu.Unlock()
	s.serving.WaitWithTimeout(cutGrace)
	return n
}

// noteDrain keeps what the drain did to the connections that were open. The
// handler knows best; without its word every one was busy.
func (s *Server) noteDrain(open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &s.drain
	d.stats.Took = time.Since(d.began)
	if h, ok := s.handler().(interface{ Drained() handler.DrainStats }); ok {
		d.stats.DrainStats = h.Drained()
	} else {
		d.stats.DrainStats = handler.DrainStats{Finished: open - d.cuts, Cut: d.cuts}
	}
}

// logDrained tells the log what the drain did, whose error is err.
func (s *Server) logDrained(err error) {
	level, d := slog.LevelInfo, s.Drained()
	if err != nil {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.Int("idle", d.Idle),
		slog.Int("finished", d.Finished),
		slog.Int("cut", d.Cut),
		slog.Duration("took", d.Took.Round(time.Millisecond)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	s.log().LogAttrs(context.Background(), level, "drained", attrs...)
}
