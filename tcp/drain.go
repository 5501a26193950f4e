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
	"wireline/lib/logger"
)

const (
	// cutGrace is how long the server waits for the handlers of connections that it has
	// reset, and for a handler that resets its connections itself. A handler that goes
	// on without its connection takes longer: its goroutine is left behind.
	cutGrace = 500 * time.Millisecond

	// firstInputTime is for how long a client that has come late may still send its first
	// frame.
	firstInputTime = time.Second

	// doneGrace is the time that a goroutine needs to end after its handler has closed
	// the connection.
	doneGrace = 10 * time.Millisecond

	// flushTimeout is how long the end of a server waits for its log to be written.
	flushTimeout = time.Second
)

// DrainStats says what a drain did.
type DrainStats struct {
	handler.DrainStats
	Took time.Duration
}

// drain is the end of a server. There is one, however often Shutdown is called.
type drain struct {
	once  sync.Once
	began time.Time
	limit time.Duration // from began; DrainTimeout, or what the context of Shutdown leaves

	// ctx ends when the context of one of the calls of Shutdown ends.
	ctx  context.Context
	stop context.CancelCauseFunc

	done chan struct{} // closed at the end of the drain
	err  error         // of the drain, after that
	cuts int           // connections reset by the server; under the server's mu

	stats DrainStats // under the server's mu
}

func (d *drain) init() {
	d.ctx, d.stop = context.WithCancelCause(context.Background())
	d.done = make(chan struct{})
}

// Shutdown stops the server in good order: it accepts the connections in the kernel's
// queue, closes the listeners, waits a moment for PROXY headers and TLS handshakes, and
// drains the handler, all connections at the same time. Connections that are left when ctx
// ends are reset, and the error is ErrCut. A further call waits for the same drain,
// returns the same error, and ends the drain if its ctx ends first. Shutdown waits for the
// handlers: a handler must not call it with a ctx that does not end.
//
// A listener without SetDeadline, such as one of crypto/tls, is closed without looking
// into its queue.
//
// At the end Shutdown waits until the log is written, for a second at most.
func (s *Server) Shutdown(ctx context.Context) error {
	defer logger.Flush(flushTimeout)
	return s.shutdown(ctx)
}

// shutdown is Shutdown without the wait for the log.
func (s *Server) shutdown(ctx context.Context) error {
	s.beginDrain()
	s.stop(ctx)
	unwatch := context.AfterFunc(ctx, func() { s.drain.stop(context.Cause(ctx)) })
	defer unwatch()
	s.drain.once.Do(func() { go s.runDrain() })
	<-s.drain.done // bounded by ctx
	return s.drain.err
}

// beginDrain notes that the server is about to stop, and calls OnDrain, once.
func (s *Server) beginDrain() {
	s.leaving.Store(true)
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

// Drained says what Shutdown did. It is zero until Shutdown has ended.
func (s *Server) Drained() DrainStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drain.stats
}

// runDrain runs the drain. Every step ends soon after the drain's context.
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
	s.refusals.close()
	s.noteDrain(open)
}

// waitAccepting waits until the accept loops have emptied the kernel's queues and ended.
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

// stopHandler calls Shutdown of the handler, or Close if it has no Shutdown, and returns
// when that returns. At the end of ctx, Shutdown has cutGrace to reset the connections
// itself. The timeout of Close may be longer than ctx: then the server resets the
// connections meanwhile.
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

// receive waits for a value, for d at most.
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

// joinCut adds to err that n connections were reset, unless err says that already.
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

// cutRest resets the connections that are left, waits a moment for their handlers, and
// returns how many connections there were.
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

// noteDrain keeps what the drain did with the open connections, as the handler's Drained
// says. Without that, every connection that was not reset counts as finished.
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

// logDrained writes what the drain did; err is the error of the drain.
func (s *Server) logDrained(err error) {
	level, d := slog.LevelInfo, s.Drained()
	if err != nil {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.Int("idle", d.Idle),
		slog.Int("finished", d.Finished),
		slog.Int("cut", d.Cut),
		logger.Seconds("took", d.Took.Round(time.Millisecond)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	s.log().LogAttrs(context.Background(), level, "drained", attrs...)
}
