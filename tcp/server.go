package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/atomic"

	"wireline/handler"
	"wireline/lib/sock"
	"wireline/lib/sync/wait"
)

var (
	// ErrServerClosed is what Serve returns after Shutdown or Close.
	ErrServerClosed = errors.New("tcp: server closed")

	// ErrCut is what a drain returns when connections were reset because it
	// took too long or was cut short.
	ErrCut = handler.ErrCut
)

const (
	// cutGrace is how long the server waits for connections that it has cut
	// to be done. Only a handler that works on without its connection takes
	// longer, and is left behind.
	cutGrace = 300 * time.Millisecond

	// doneGrace is the moment that a goroutine needs to end once its handler
	// is done with the connection.
	doneGrace = 10 * time.Millisecond
)

// Server accepts connections and gives them to its handler. The zero value is
// ready to Serve; its connections are read and discarded (RFC 863) until
// Handler is set. Fields must not change once it serves. All methods are safe
// for concurrent use. A Server that was shut down does not serve again.
type Server struct {
	// Config bounds what is admitted. Network and Address are of Listen.
	Config

	// Handler serves the connections. Nil discards what they send.
	Handler handler.Handler

	once    sync.Once
	ctx     context.Context // of every connection; ends when they are cut
	cut     context.CancelFunc
	discard handler.Handler

	admission admission
	accepting wait.Wait // accept loops
	serving   wait.Wait // connections

	mu        sync.Mutex
	stopped   chan struct{} // closed when the server stops
	stopping  bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	drained   DrainStats

	stats counters
}

// DrainStats tells what a drain did.
type DrainStats struct {
	handler.DrainStats
	Took time.Duration
}

// Stats counts what a server did since it began.
type Stats struct {
	Accepted     uint64 // connections given to the handler
	Active       int    // of them, those that are being served now
	RefusedFull  uint64 // reset because of MaxClients
	RefusedPerIP uint64 // reset because of MaxClientsPerIP
	AcceptErrors uint64 // failed accepts that were waited out
	Panics       uint64 // handlers that panicked
}

type counters struct {
	accepted, refusedFull, refusedPerIP, acceptErrors, panics atomic.Uint64
}

// Stats returns the counts at this moment.
func (s *Server) Stats() Stats {
	return Stats{
		Accepted:     s.stats.accepted.Load(),
		Active:       s.serving.Count(),
		RefusedFull:  s.stats.refusedFull.Load(),
		RefusedPerIP: s.stats.refusedPerIP.Load(),
		AcceptErrors: s.stats.acceptErrors.Load(),
		Panics:       s.stats.panics.Load(),
	}
}

// Drained tells what Shutdown has done, so far.
func (s *Server) Drained() DrainStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained
}

// init makes what the zero value lacks.
func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.cut = context.WithCancel(context.Background())
		s.stopped = make(chan struct{})
		s.listeners = make(map[net.Listener]struct{})
		s.sessions = make(map[*session]struct{})
		s.discard = &handler.Frames{Codec: discard{}}
		s.admission.init(&s.Config)
	})
}

func (s *Server) handler() handler.Handler {
	if s.Handler == nil {
		return s.discard
	}
	return s.Handler
}

// Serve accepts connections from ln and serves them until the server stops. It
// owns ln and closes it. Several Serves may run at the same time, for several
// listeners; limits count for all together.
//
// When ctx ends, the server stops as by Shutdown, bounded by DrainTimeout, and
// Serve returns when that is done. The values of ctx are those of every
// connection's context, its end is not: they end when they are cut.
//
// The error is never nil: ErrServerClosed after Shutdown, Close or the end of
// ctx (joined with ErrCut if connections were cut then), or what made ln
// unusable. Errors that pass, above all too many open files, do not end Serve:
// it waits and tries again.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.init()
	if !s.addListener(ln) {
		ln.Close()
		return ErrServerClosed
	}
	drained := make(chan error, 1)
	unwatch := context.AfterFunc(ctx, func() {
		bound, cancel := context.WithTimeout(context.Background(), s.drainTimeout())
		defer cancel()
		drained <- s.Shutdown(bound)
	})
	err := s.acceptLoop(s.connContext(ctx), ln)
	s.removeListener(ln)
	s.accepting.Done()
	if !unwatch() {
		err = errors.Join(err, <-drained)
	}
	return err
}

// connContext is the context of the connections: the values of ctx, the end of
// the server's own.
func (s *Server) connContext(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(s.ctx, cancel)
	return ctx
}

// addListener reports whether ln may be served: not after Shutdown.
func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.listeners[ln] = struct{}{}
	s.accepting.Add(1)
	return true
}

func (s *Server) removeListener(ln net.Listener) {
	ln.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

// stop makes the accept loops take in what the kernel's queues still hold and
// end.
func (s *Server) stop() {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return
	}
	s.stopping = true
	close(s.stopped)
	for ln := range s.listeners {
		interrupt(ln)
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// Shutdown stops the server in good order: it takes in what waits in the
// kernel's queue, closes the listeners, then drains the handler, all
// connections at the same time. What is left when ctx ends is reset, and the
// error is ErrCut. A call while another one waits, with a ctx that ends sooner,
// cuts it short.
func (s *Server) Shutdown(ctx context.Context) error {
	begin := time.Now()
	s.stop()
	s.accepting.Wait() // does not take long: see sweep
	open := s.serving.Count()
	err := s.drainHandler(ctx)
	cut := 0
	if why := s.serving.WaitContext(ctx); why != nil {
		cut = s.cutRest()
		if cut > 0 && err == nil {
			err = fmt.Errorf("%w: %d connections: %w", ErrCut, cut, why)
		}
	}
	s.cut()
	s.noteDrain(open, cut, begin)
	return err
}

// Close stops the server at once: connections are reset, and what waits in the
// kernel's queue is too.
func (s *Server) Close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ended); !errors.Is(err, ErrCut) {
		return err
	}
	return nil
}

// drainHandler lets the handler drain its clients. One that has only Close has
// a bound of its own, which may be longer than ctx: at its end the connections
// are cut under its hands.
func (s *Server) drainHandler(ctx context.Context) error {
	h := s.handler()
	if h, ok := h.(handler.Shutdowner); ok {
		return h.Shutdown(ctx)
	}
	closed := make(chan error, 1)
	go func() { closed <- h.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	s.cutRest()
	select {
	case err := <-closed:
		return err
	case <-time.After(cutGrace):
		return fmt.Errorf("tcp: %T.Close does not return", h)
	}
}

// cutRest resets the connections that are left, waits a moment for their
// handlers to notice, and returns how many there were.
func (s *Server) cutRest() int {
	s.cut()
	if !s.serving.WaitWithTimeout(doneGrace) {
		return 0
	}
	s.mu.Lock()
	n := len(s.sessions)
	for ses := range s.sessions {
		sock.Reset(ses.conn)
	}
	s.mu.Unlock()
	s.serving.WaitWithTimeout(cutGrace)
	return n
}

// noteDrain keeps what the drain did. The handler knows best; without its word
// every connection was busy.
func (s *Server) noteDrain(open, cut int, begin time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained.Took = time.Since(begin)
	if h, ok := s.handler().(interface{ Drained() handler.DrainStats }); ok {
		s.drained.DrainStats = h.Drained()
	} else {
		s.drained.DrainStats = handler.DrainStats{Finished: open - cut, Cut: cut}
	}
}
