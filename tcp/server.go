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
	"wireline/lib/sync/wait"
)

var (
	// ErrServerClosed is what Serve returns after Shutdown or Close.
	ErrServerClosed = errors.New("tcp: server closed")

	// ErrCut is what a drain returns when connections were reset because it
	// took too long or was cut short.
	ErrCut = handler.ErrCut
)

// Server accepts connections and gives them to its handler. The zero value is
// ready to Serve; its connections are read and discarded (RFC 863) until
// Handler is set. Fields must not change once it serves. All methods are safe
// for concurrent use. A Server that was shut down does not serve again.
type Server struct {
	// Config bounds what is admitted. Network, Address and the socket options are
	// of Listen; Linger is how connections of other listeners are closed, too.
	Config

	// Name is the name of the service. The lines in the log have it as service.
	Name string

	// Handler serves the connections. Nil discards what they send.
	Handler handler.Handler

	// TLSConfig, if set, makes the server speak TLS, in the place of Config.TLS.
	TLSConfig *tls.Config

	// OnDrain, if set, is called once, when the server begins to stop: at the first
	// moment of a Group's grace delay, when it still accepts, or else of Shutdown. It
	// must not block.
	OnDrain func()

	once    sync.Once
	onDrain sync.Once
	ctx     context.Context // of every connection; ends when they are cut
	cut     context.CancelFunc
	discard handler.Handler
	drain   drain

	proxyproto headerPolicy
	tls        *tls.Config // nil without TLS
	setupErr   error       // what of the configuration cannot be used

	admission admission
	accepting wait.Wait // accept loops
	preambles wait.Wait // connections that the handler does not have yet
	serving   wait.Wait // connections, those among them

	preambleCtx  context.Context // ends when a stop does not wait for preambles any more
	endPreambles context.CancelFunc

	mu        sync.Mutex
	stopping  context.Context // ends when the server stops; stopped is its Done
	stopped   <-chan struct{}
	halt      context.CancelFunc // ends stopping, under mu
	listeners map[*listener]struct{}
	tracked   map[*accepted]struct{} // connections that the server itself cuts

	stats counters
}

// Stats counts what a server did since it began.
type Stats struct {
	Accepted     uint64 // connections given to the handler
	Active       int    // connections being served, or turned away, now
	RefusedFull  uint64 // reset because of MaxClients
	RefusedPerIP uint64 // reset because of MaxClientsPerIP
	Panics       uint64 // handlers that panicked, or ended their goroutine

	// RefusedHeader counts connections reset because their PROXY header was bad,
	// missing, or from somebody who is not trusted; FailedHandshakes those that did
	// not come to TLS.
	RefusedHeader, FailedHandshakes uint64

	// AcceptErrors counts failed accepts that were waited out, AcceptEpisodes
	// the times in which there were some: a line in the log each.
	AcceptErrors, AcceptEpisodes uint64
}

type counters struct {
	refusedHeader, failedHandshakes stdatomic.Uint64

	accepted, refusedFull, refusedPerIP, acceptErrors, acceptEpisodes, panics stdatomic.Uint64
}

// Stats returns the counts at this moment.
func (s *Server) Stats() Stats {
	return Stats{
		Accepted:     s.stats.accepted.Load(),
		Active:       s.serving.Count(),
		RefusedFull:  s.stats.refusedFull.Load(),
		RefusedPerIP: s.stats.refusedPerIP.Load(),
		Panics:       s.stats.panics.Load(),

		RefusedHeader:    s.stats.refusedHeader.Load(),
		FailedHandshakes: s.stats.failedHandshakes.Load(),

		AcceptErrors:   s.stats.acceptErrors.Load(),
		AcceptEpisodes: s.stats.acceptEpisodes.Load(),
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

// init makes what the zero value lacks.
func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.cut = context.WithCancel(context.Background())
		s.stopping, s.halt = context.WithCancel(context.Background())
		s.stopped = s.stopping.Done()
		s.preambleCtx, s.endPreambles = context.WithCancel(context.Background())
		s.drain.init()
		s.tracked = make(map[*accepted]struct{})
		s.discard = &handler.Frames{Codec: discard{}}
		s.admission.init(&s.Config)
		s.proxyproto = s.Config.headerPolicy()
		if s.setupErr = s.validate(); s.setupErr == nil {
			s.tls, s.setupErr = s.tlsConfig()
		}
	})
}

// validate reports what is wrong with the configuration, and with the handler, if that
// has a method Validate.
func (s *Server) validate() error {
	cfg := s.Config
	if s.TLSConfig != nil {
		cfg.TLS = TLSFiles{}
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

// named says in err whose error it is, if the server has a name.
func (s *Server) named(err error) error {
	if s.Name == "" {
		return err
	}
	return fmt.Errorf("service %s: %w", s.Name, err)
}

func (s *Server) log() *slog.Logger {
	if s.Name == "" {
		return s.Config.log()
	}
	return s.Config.log().With("service", s.Name)
}

// logListening writes the line that scripts read: addr comes first.
func (s *Server) logListening(ln net.Listener) {
	attrs := []any{"addr", ln.Addr().String()}
	if s.Name != "" {
		attrs = append(attrs, "service", s.Name)
	}
	s.Config.log().Info("listening", attrs...)
}

func (s *Server) handler() handler.Handler {
	if s.Handler == nil {
		return s.discard
	}
	return s.Handler
}

// ListenAndServe listens as the Config says, and serves until the server stops; see Serve.
// It does not know signals: a Group does.
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
	return listenAs(ctx, &s.Config)
}

// Serve accepts connections from ln and serves them until the server stops. It
// owns ln and closes it; if somebody else does, Serve ends, on Linux with the next
// connection. What is accepted from a listener of Listen has the socket options that
// Listen was told. That of another plain TCP listener gets TCP_NODELAY on Linux, and
// keep-alive after 15 seconds unless the listener has SO_KEEPALIVE set; the KeepAlive
// fields of the net.ListenConfig that made it are not known. Several Serves may run at
// the same time, for several listeners; limits count for all together.
//
// When ctx ends, the server stops as by Shutdown, bounded by DrainTimeout, and
// Serve returns when that is done. The values of ctx are those of every
// connection's context, its end is not: they end when they are cut.
//
// The error is never nil: ErrServerClosed after Shutdown, Close or the end of
// ctx (joined with ErrCut if connections were cut then), what is wrong with the
// configuration or, by its method Validate, with the handler, or what made ln
// unusable. Errors that pass, above all too many open files, do not end Serve:
// it waits and tries again.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.init()
	if s.setupErr != nil {
		ln.Close()
		return s.setupErr
	}
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

// addListener reports whether l may be served: not after Shutdown.
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

// stop makes the accept loops take in what the kernel's queues still hold and
// end.
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
