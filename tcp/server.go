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
	"wireline/lib/histogram"
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
// serves; Reconfigure changes the configuration then. All methods are safe for concurrent use. A
// Server that was shut down does not serve again.
type Server struct {
	// Config limits the connections. Network, Address and Socket are for ListenAndServe;
	// Linger applies to the connections of all listeners. The server reads it once, at first
	// use, and never changes it: after Reconfigure, Settings returns what is in force.
	Config

	// Name is the name of the service. The lines in the log have it with the key service.
	Name string

	// Handler serves the connections. Nil discards what they send.
	Handler handler.Handler

	// TLSConfig, if set, makes the server speak TLS, in the place of Config.TLS, of which
	// only MaxHandshakes applies. It is used as it is, with its ticket keys. If one of its
	// functions blocks, the handshake fails at its timeout; but the goroutine stays until the
	// function returns, and while 1000 of them do, further handshakes fail at once.
	TLSConfig *tls.Config

	// Memory, if set, is the budget for what is buffered, in the place of MaxBuffered.
	// Several servers may share one.
	Memory *handler.Memory

	// OnDrain, if set, is called once, when the server begins to stop: at the first
	// moment of a Group's grace delay, when it still accepts, or else of Shutdown. It
	// must not block.
	OnDrain func()

	once    sync.Once
	onDrain sync.Once
	leaving stdatomic.Bool  // it has begun to stop, or its Group's grace delay has
	ctx     context.Context // of every connection; ends when connections are reset
	cut     context.CancelFunc
	discard handler.Handler
	drain   drain

	settings stdatomic.Pointer[settings] // in force; nil before init
	changing sync.Mutex                  // held while the next ones are made, and while the listener of Config is opened

	tickets        tickets
	handshakes     handshakes.Limiter
	measured       sync.Once            // of measure, which makes the next two
	handshakeTimes *histogram.Histogram // of handshakes that have succeeded
	budgets        budgets
	setupErr       error // what is wrong with the first configuration

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
	own       *listener              // the last one that the server has opened itself; nil without one
	tracked   map[*accepted]struct{} // connections that the server itself cuts

	stats counters
}

// Stats has the counters of a server.
type Stats struct {
	Accepted     uint64 // connections given to the handler
	Active       int    // connections being served, or rejected, now
	RefusedFull  uint64 // reset because of MaxClients; or closed with a FIN, in a drain
	RefusedPerIP uint64 // reset because of MaxClientsPerIP
	Panics       uint64 // handlers that panicked, or ended their goroutine

	// RefusedPerPrefix counts connections reset because of MaxClientsPerPrefix,
	// RefusedDenied those reset because of Allow and Deny.
	RefusedPerPrefix, RefusedDenied uint64

	// RefusedMemory counts connections reset because an eighth more than MaxBuffered was
	// buffered. Those that were ended because they held most are not refused; their records
	// have handler.ReasonMemory.
	RefusedMemory uint64

	// Buffered is how many bytes are buffered now, of MaxBuffered. For servers that share a
	// budget it is the sum. It includes clients that came when MaxBuffered was another one, but
	// for those that count for a shared budget.
	Buffered int64

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

	refusedPerPrefix, refusedDenied, refusedMemory stdatomic.Uint64

	accepted, refusedFull, refusedPerIP, acceptErrors, acceptEpisodes, panics stdatomic.Uint64

	recounted stdatomic.Int64 // hijacked connections that are served now
}

// Stats returns the counts at this moment. Like Ready, HandshakeTimes and Addrs, it may be called
// before the server serves.
func (s *Server) Stats() Stats {
	computing, queued := s.handshakes.Counts()
	return Stats{
		Accepted:     s.stats.accepted.Load(),
		Active:       s.serving.Count() + int(s.stats.recounted.Load()),
		RefusedFull:  s.stats.refusedFull.Load(),
		RefusedPerIP: s.stats.refusedPerIP.Load(),
		Panics:       s.stats.panics.Load(),

		RefusedPerPrefix: s.stats.refusedPerPrefix.Load(),
		RefusedDenied:    s.stats.refusedDenied.Load(),

		RefusedMemory: s.stats.refusedMemory.Load(),
		Buffered:      s.buffered(),

		RefusedHeader:    s.stats.refusedHeader.Load(),
		FailedHandshakes: s.stats.failedHandshakes.Load(),
		Probes:           s.stats.probes.Load(),

		ComputingHandshakes: computing,
		QueuedHandshakes:    queued,

		AcceptErrors:   s.stats.acceptErrors.Load(),
		AcceptEpisodes: s.stats.acceptEpisodes.Load(),

		DroppedLogs: logger.Dropped(s.baseLog()),
	}
}

// Ready reports whether a balancer should send clients: the server accepts them, and has not
// begun to stop. In a Group's grace delay it is not ready, though it still accepts.
func (s *Server) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners) > 0 && !s.leaving.Load()
}

// HandshakeTimes returns how long the TLS handshakes have taken that have succeeded, with the
// time that they have queued.
func (s *Server) HandshakeTimes() histogram.Snapshot {
	s.measure()
	return s.handshakeTimes.Snapshot()
}

// Addrs returns the addresses of the listeners that the server serves now, without one that only
// accepts what is left in its queue because Reconfigure has changed the address.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []net.Addr
	for l := range s.listeners {
		if !l.retired {
			addrs = append(addrs, l.ln.Addr())
		}
	}
	return addrs
}

// measure makes what Stats and HandshakeTimes read. It is not part of init, which reads the files
// of TLS: to look at a server must not decide with which files it serves.
func (s *Server) measure() {
	s.measured.Do(func() {
		s.budgets.current = s.newBuffers(&s.Config)
		s.handshakeTimes = histogram.New(histogram.Latencies)
	})
}

// init prepares the zero value.
func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.cut = context.WithCancel(context.Background())
		s.stopping, s.halt = context.WithCancel(context.Background())
		s.stopped = s.stopping.Done()
		s.preambleCtx, s.endPreambles = context.WithCancel(s.ctx)
		s.drain.init()
		s.tracked = make(map[*accepted]struct{})
		s.discard = &handler.Frames{Codec: discard{}}
		s.refusals.log = s.log
		s.measure()
		s.admission.init(s)
		s.handshakes.Limit = s.Config.TLS.MaxHandshakes
		set := s.newSettings(s.Config, nil)
		if s.setupErr = s.validate(); s.setupErr == nil {
			set.tls, s.setupErr = s.tlsConfig(&set.TLS, nil)
		}
		s.settings.Store(set)
	})
}

// validateConfig reports what is wrong with cfg.
func (s *Server) validateConfig(cfg Config) error {
	if s.TLSConfig != nil {
		cfg.TLS = TLSFiles{MaxHandshakes: cfg.TLS.MaxHandshakes}
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("tcp: %w", err)
	}
	return nil
}

// validate reports what is wrong with the configuration, and with the handler if it has a
// method Validate.
func (s *Server) validate() error {
	if err := s.validateConfig(s.Config); err != nil {
		return err
	}
	if v, ok := s.handler().(interface{ Validate() error }); ok {
		return handlerError(v.Validate())
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
	return &ServerError{s.Name, err}
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
func (s *Server) baseLog() *slog.Logger {
	if set := s.settings.Load(); set != nil {
		return logger.Async(set.asyncLog)
	}
	return logger.Async(s.Config.Log)
}

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
	if s.settings.Load().Socket.ReusePort && migratesNothing() {
		s.log().Warn("net.ipv4.tcp_migrate_req is 0: connections that are being made when a process on this port stops may be reset")
	}
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
	l, err := s.openOwn(ctx)
	if err != nil {
		return err
	}
	s.logListening(l.ln)
	return s.serveListener(ctx, l)
}

// openOwn opens the listener of the Config, and takes it.
func (s *Server) openOwn(ctx context.Context) (*listener, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	l, err := s.listen(ctx, ctx)
	if err == nil {
		err = s.register(l)
	}
	return l, err
}

// listen opens the listener of the Config. Connections will have the values of values.
func (s *Server) listen(ctx, values context.Context) (*listener, error) {
	s.init()
	if s.setupErr != nil {
		return nil, s.setupErr
	}
	return s.openListener(ctx, values, s.settings.Load(), (*Server).checkListener)
}

// openListener opens the listener that set describes. check may refuse its address.
func (s *Server) openListener(ctx, values context.Context, set *settings, check func(*Server, net.Addr) error) (*listener, error) {
	ln, err := listenAs(ctx, &set.Config)
	if err != nil {
		return nil, err
	}
	if err := check(s, ln.Addr()); err != nil {
		ln.Close()
		return nil, err
	}
	return s.newListener(values, ln, &set.Config), nil
}

// checkListener reports why the handler must not serve clients that connect to a, if it has a
// method CheckListener: a proxy must not be its own upstream.
func (s *Server) checkListener(a net.Addr) error {
	if h, ok := s.handler().(interface{ CheckListener(net.Addr) error }); ok {
		return handlerError(h.CheckListener(a))
	}
	return nil
}

func handlerError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("tcp: handler: %w", err)
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
	if err := s.checkListener(ln.Addr()); err != nil {
		ln.Close()
		return err
	}
	l := s.newListener(ctx, ln, nil)
	if err := s.register(l); err != nil {
		return err
	}
	return s.serveListener(ctx, l)
}

// register takes a listener before anybody learns of it: if the server stops from now on,
// serveListener accepts the connections in its queue. After a stop it closes the listener.
func (s *Server) register(l *listener) error {
	s.mu.Lock()
	taken := s.addListener(l)
	s.mu.Unlock()
	if !taken {
		l.close()
		return ErrServerClosed
	}
	return nil
}

// serveListener is Serve for a listener that is registered, and for those that take its place.
func (s *Server) serveListener(ctx context.Context, l *listener) error {
	err := s.acceptUntilStop(ctx, l)
	if !errors.Is(err, ErrServerClosed) {
		s.refusals.flush() // the caller may exit now
		logger.Flush(flushTimeout)
	}
	return err
}

// acceptUntilStop runs the accept loop of l, and shuts the server down when ctx ends.
func (s *Server) acceptUntilStop(ctx context.Context, l *listener) error {
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

// acceptFrom runs the accept loop of l, and after it that of the listener that takes its place. It
// removes the listeners also if the handler's Accept calls runtime.Goexit.
func (s *Server) acceptFrom(l *listener) error {
	defer func() {
		for ; l != nil; l = s.successor(l) {
			s.removeListener(l)
		}
	}()
	for {
		err := s.acceptLoop(l)
		next := s.successor(l)
		if next == nil {
			return err
		}
		go s.closeRetired(l)
		l = next
	}
}

// successor returns the listener that takes the place of l, once. If it returns nil, none will.
func (s *Server) successor(l *listener) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == l {
		s.own = nil
	}
	next := l.next
	l.next = nil
	return next
}

// closeRetired accepts what is left in the queue of a listener that another one has taken the
// place of, and closes it. If another server has its socket, only the descriptor is closed.
func (s *Server) closeRetired(l *listener) {
	defer s.removeListener(l)
	if l.given.Load() {
		return
	}
	s.empty(l)
	l.close() // before the line: its address is free then
	s.log().Info("listener closed", "addr", l.ln.Addr().String())
}

// addListener adds l to the set, under mu, and reports false after Shutdown.
func (s *Server) addListener(l *listener) bool {
	if s.isStopping() {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[*listener]struct{})
	}
	s.listeners[l] = struct{}{}
	if l.opened != nil {
		s.own = l
	}
	s.accepting.Add(1)
	return true
}

func (s *Server) removeListener(l *listener) {
	l.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.accepting.Done()
}

// stop makes the accept loops accept what is left in the kernel's queues, and end.
func (s *Server) stop(ctx context.Context) {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() {
		return
	}
	s.drain.began, s.drain.limit = time.Now(), s.drainTimeout()
	if end, ok := ctx.Deadline(); ok {
		s.drain.limit = min(s.drain.limit, time.Until(end))
	}
	s.halt()
	for l := range s.listeners {
		l.interrupt()
	}
}

func (s *Server) isStopping() bool { return s.stopping.Err() != nil }
