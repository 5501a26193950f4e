package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"wireline/handler"
	"wireline/internal/handshakes"
	"wireline/lib/logger"
	"wireline/lib/sync/wait"
)

var (
	// ErrServerClosed is what Serve returns after Shutdown or Close.
	ErrServerClosed = errors.New("tcp: server closed")

	// ErrCut is what Shutdown returns when connections were reset, because the drain
	// took too long or was cut short.
	ErrCut = handler.ErrCut
)

// Server accepts connections and gives them to its handler. The zero value is ready to
// serve: without a Handler it reads and discards (RFC 863). Fields must not change once it
// serves. All methods are safe for concurrent use. A Server that was shut down does not
// serve again.
type Server struct {
	// Config limits the connections. Network, Address and Socket are for ListenAndServe;
	// Linger applies to the connections of all listeners.
	Config

	// Name is the name of the service. The lines in the log have it with the key service.
	Name string

	// Handler serves the connections. Nil discards what they send.
	Handler handler.Handler

	// TLSConfig, if set, makes the server speak TLS, in the place of Config.TLS, of which
	// only MaxHandshakes applies. It is used as it is, with its ticket keys.
	TLSConfig *tls.Config

	// OnDrain, if set, is called once, when the server begins to stop: at the first
	// moment of a Group's grace delay, when it still accepts, or else of Shutdown. It
	// must not block.
	OnDrain func()

	once    sync.Once
	onDrain sync.Once
	ctx     context.Context // of every connection; ends when connections are reset
	cut     context.CancelFunc
	discard handler.Handler
	drain   drain

	proxyproto headerPolicy
	tls        *tls.Config // nil without TLS
	tickets    tickets
	handshakes handshakes.Limiter
	setupErr   error // what is wrong with the configuration

	admission admission
	refusals  refusals
	accepting wait.Wait // accept loops
	preambles wait.Wait // goroutines whose connections the handler does not have yet
	serving   wait.Wait // all connections

	preambleCtx  context.Context // ends when a stop does not wait for preambles any more
	endPreambles context.CancelFunc

	mu        sync.Mutex
	stopping  context.Context // ends when the server stops; stopped is its Done
	stopped   <-chan struct{}
	halt      context.CancelFunc // ends stopping, under mu
	listeners map[*listener]struct{}
	tracked   map[*accepted]struct{} // connections that the server itself cuts

	asyncLog *slog.Logger // Config.Log; nil means slog.Default()
	stats    counters
}

// Stats has the counters of a server.
type Stats struct {
	Accepted     uint64 // connections given to the handler
	Active       int    // connections being served, or rejected, now
	RefusedFull  uint64 // reset because of MaxClients
	RefusedPerIP uint64 // reset because of MaxClientsPerIP
	Panics       uint64 // handlers that panicked, or ended their goroutine

	// RefusedPerPrefix counts connections reset because of MaxClientsPerPrefix,
	// RefusedDenied those reset because of Allow and Deny.
	RefusedPerPrefix, RefusedDenied uint64

	// RefusedHeader counts connections reset because their PROXY header was bad or
	// missing, or the peer is not trusted; FailedHandshakes those whose TLS handshake
	// failed.
	RefusedHeader, FailedHandshakes uint64

	// Probes counts connections that were no clients, but checks of balancers and monitors:
	// with the PROXY header LOCAL, or ended by their peer before a byte went either way. The
	// latter are also counted as what the server made of them. It does not see them if the
	// handler is neither of package handler nor a proxy.Proxy.
	Probes uint64

	// ComputingHandshakes is how many TLS handshakes are computed now, QueuedHandshakes
	// how many wait because of TLS.MaxHandshakes.
	ComputingHandshakes, QueuedHandshakes int

	// AcceptErrors counts failed accepts that were tried again, AcceptEpisodes the
	// periods with such failures: each has a line in the log.
	AcceptErrors, AcceptEpisodes uint64

	// DroppedLogs counts records that the log of the server did not take; see
	// logger.Async. They may be those of others that use the same slog.Handler.
	DroppedLogs uint64
}

type counters struct {
	refusedHeader, failedHandshakes, probes stdatomic.Uint64

	refusedPerPrefix, refusedDenied stdatomic.Uint64

	accepted, refusedFull, refusedPerIP, acceptErrors, acceptEpisodes, panics stdatomic.Uint64
}

// Stats returns the counts at this moment.
func (s *Server) Stats() Stats {
	computing, queued := s.handshakes.Counts()
	return Stats{
		Accepted:     s.stats.accepted.Load(),
		Active:       s.serving.Count(),
		RefusedFull:  s.stats.refusedFull.Load(),
		RefusedPerIP: s.stats.refusedPerIP.Load(),
		Panics:       s.stats.panics.Load(),

		RefusedPerPrefix: s.stats.refusedPerPrefix.Load(),
		RefusedDenied:    s.stats.refusedDenied.Load(),

		RefusedHeader:    s.stats.refusedHeader.Load(),
		FailedHandshakes: s.stats.failedHandshakes.Load(),
		Probes:           s.stats.probes.Load(),

		ComputingHandshakes: computing,
		QueuedHandshakes:    queued,

		AcceptErrors:   s.stats.acceptErrors.Load(),
		AcceptEpisodes: s.stats.acceptEpisodes.Load(),

		DroppedLogs: logger.Dropped(logger.Async(s.Log)),
	}
}

// Addrs returns the addresses of the listeners that the server serves now.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []net.Addr
	for l := range s.listeners {
		addrs = append(addrs, l.ln.Addr())
	}
	return addrs
}

// init prepares the zero value.
func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.cut = context.WithCancel(context.Background())
		s.stopping, s.halt = context.WithCancel(context.Background())
		s.stopped = s.stopping.Done()
		s.preambleCtx, s.endPreambles = context.WithCancel(s.ctx)
		s.drain.init()
		if s.Log != nil {
			s.asyncLog = logger.Async(s.Log)
		}
		s.tracked = make(map[*accepted]struct{})
		s.discard = &handler.Frames{Codec: discard{}}
		s.refusals.log = s.log
		s.admission.init(&s.Config)
		s.admission.onFull = func() { s.refusals.add(causeWaiting, "", slog.Int("max_clients", s.MaxClients)) }
		s.proxyproto = s.Config.headerPolicy()
		s.handshakes.Limit = s.Config.TLS.MaxHandshakes
		if s.setupErr = s.validate(); s.setupErr == nil {
			s.tls, s.setupErr = s.tlsConfig()
		}
	})
}

// validate reports what is wrong with the configuration, and with the handler if it has a
// method Validate.
func (s *Server) validate() error {
	cfg := s.Config
	if s.TLSConfig != nil {
		cfg.TLS = TLSFiles{MaxHandshakes: cfg.TLS.MaxHandshakes}
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("tcp: %w", err)
	}
	if v, ok := s.handler().(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("tcp: handler: %w", err)
		}
	}
	return nil
}

// setup prepares the server, and reports what is wrong with it.
func (s *Server) setup() error {
	s.init()
	if s.setupErr != nil {
		return s.named(s.setupErr)
	}
	return nil
}

// named adds the name of the server to err, if it has one.
func (s *Server) named(err error) error {
	if s.Name == "" {
		return err
	}
	return fmt.Errorf("service %s: %w", s.Name, err)
}

// log is the log of the server, which nobody waits for.
func (s *Server) log() *slog.Logger {
	log := s.baseLog()
	if s.Name == "" {
		return log
	}
	return log.With("service", s.Name)
}

// baseLog is log without the name of the server.
func (s *Server) baseLog() *slog.Logger { return logger.Async(s.asyncLog) }

// logListening writes a line that scripts read: addr comes first. The line says if anybody who
// can reach this machine can connect.
func (s *Server) logListening(ln net.Listener) {
	attrs := []any{"addr", ln.Addr().String()}
	if s.Name != "" {
		attrs = append(attrs, "service", s.Name)
	}
	if isEverywhere(ln.Addr()) {
		attrs = append(attrs, "interfaces", "all")
	}
	s.baseLog().Info("listening", attrs...)
}

func (s *Server) handler() handler.Handler {
	if s.Handler == nil {
		return s.discard
	}
	return s.Handler
}

// ListenAndServe listens as the Config says, and serves until the server stops; see Serve.
// It does not handle signals; a Group does.
func (s *Server) ListenAndServe(ctx context.Context) error {
	ln, err := s.listen(ctx)
	if err != nil {
		return err
	}
	s.logListening(ln)
	return s.Serve(ctx, ln)
}

// listen opens the listener of the Config.
func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	s.init()
	if s.setupErr != nil {
		return nil, s.setupErr
	}
	ln, err := listenAs(ctx, &s.Config)
	if err != nil {
		return nil, err
	}
	if err := s.checkListener(ln); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// checkListener reports why the handler must not serve the clients of ln, if it has a method
// CheckListener: a proxy must not be its own upstream.
func (s *Server) checkListener(ln net.Listener) error {
	if h, ok := s.handler().(interface{ CheckListener(net.Addr) error }); ok {
		if err := h.CheckListener(ln.Addr()); err != nil {
			return fmt.Errorf("tcp: handler: %w", err)
		}
	}
	return nil
}

// Serve accepts connections from ln and serves them until the server stops. It owns ln and
// closes it. If ln is closed by other code, Serve ends, on Linux and without TLS with the next
// connection.
// Several calls of Serve may run at the same time, for several listeners; the limits count
// all their connections.
//
// Connections from a listener of Listen have the socket options of its Config. Those from
// another TCP listener get TCP_NODELAY on Linux, and keep-alive after 15 seconds unless
// the listener has SO_KEEPALIVE; the KeepAlive fields of the net.ListenConfig that made it
// are not known. Under TLS, and for a handler.Plain, they have the options of package net.
//
// When ctx ends, the server stops as by Shutdown, within DrainTimeout, and then Serve
// returns. The connections' contexts have the values of ctx; they do not end with ctx, but
// when the connections are reset.
//
// The error is never nil: ErrServerClosed after Shutdown, Close or the end of
// ctx (joined with ErrCut if connections were cut then), what is wrong with the
// configuration or, by its methods Validate and CheckListener, with the handler, or the error
// of ln.
// Temporary errors, such as too many open files, do not end Serve: it waits and tries
// again.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.init()
	if s.setupErr != nil {
		ln.Close()
		return s.setupErr
	}
	if err := s.checkListener(ln); err != nil {
		ln.Close()
		return err
	}
	err := s.serveListener(ctx, ln)
	if !errors.Is(err, ErrServerClosed) {
		s.refusals.flush() // the caller may exit now
		logger.Flush(flushTimeout)
	}
	return err
}

// serveListener is Serve for a server that is set up.
func (s *Server) serveListener(ctx context.Context, ln net.Listener) error {
	l := s.newListener(ctx, ln)
	if !s.addListener(l) {
		l.close()
		return ErrServerClosed
	}
	if h, ok := s.handler().(handler.Starter); ok {
		h.Start()
	}
	drained := make(chan error, 1)
	unwatch := context.AfterFunc(ctx, func() {
		bound, cancel := context.WithTimeoutCause(context.Background(), s.drainTimeout(), errDrainTimeout)
		defer cancel()
		drained <- s.Shutdown(bound)
	})
	err := s.acceptFrom(l)
	if !unwatch() {
		if cut := <-drained; cut != nil {
			err = errors.Join(err, cut)
		}
	}
	return err
}

// acceptFrom runs the accept loop. It removes the listener also if the handler's Accept
// calls runtime.Goexit.
func (s *Server) acceptFrom(l *listener) error {
	defer s.accepting.Done()
	defer s.removeListener(l)
	return s.acceptLoop(l)
}

// addListener adds l to the set, and reports false after Shutdown.
func (s *Server) addListener(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[*listener]struct{})
	}
	s.listeners[l] = struct{}{}
	s.accepting.Add(1)
	return true
}

func (s *Server) removeListener(l *listener) {
	l.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// stop makes the accept loops accept what is left in the kernel's queues, and end.
func (s *Server) stop() {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() {
		return
	}
	s.drain.began = time.Now()
	s.halt()
	for l := range s.listeners {
		l.interrupt()
	}
}

func (s *Server) isStopping() bool { return s.stopping.Err() != nil }
