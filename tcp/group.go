package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"wireline/lib/logger"
)

var (
	errSecondSignal = errors.New("second signal")
	errDrainTimeout = errors.New("drain timeout")

	errGroupRuns = errors.New("tcp: the group has run already")
	errNotServed = errors.New("tcp: the group does not serve this server")
)

// Group runs the servers of a process: it listens for all of them, and stops them
// together and in good order, when a signal comes or the context of Run ends. Set its
// fields before Run. Its methods are safe for concurrent use. A Group runs once.
type Group struct {
	// Servers are those that Run starts with, each on the address of its Config. Those
	// that have a Name have different ones. Each has a Handler of its own: the handler
	// ends with its server.
	Servers []*Server

	// Signals are those that stop the servers. Nil means SIGINT, SIGTERM, SIGQUIT and
	// SIGHUP, but SIGHUP only if it was not ignored from the start, as nohup does. Empty
	// and not nil means none.
	Signals []os.Signal

	// OnReload, if set, is called for SIGHUP, which then does not stop the servers. It
	// runs in a goroutine of its own, and may call Add and Remove. A SIGHUP that comes
	// meanwhile makes it run once more. It is not called after the stop has begun.
	OnReload func()

	mu      sync.Mutex
	phase   groupPhase
	ctx     context.Context // of Run
	members []*member
	failed  chan error // the first listener that has failed
}

// StartError is what a Group returns when it has not begun to serve: the configuration of a
// server is wrong, or its address cannot be bound. If one field is to blame, errors.As finds
// its *field.Error.
type StartError struct{ Err error }

// Error returns the text of Err.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

type groupPhase int

const (
	groupNew groupPhase = iota
	groupRunning
	groupStopping
)

// Run listens for all servers and serves them until a signal comes, ctx ends, or a listener
// fails. It validates all servers before it listens for the first one.
//
// Then it stops them all at the same time. For the longest GraceDelay of them they go on
// as before; then each of them drains within its own DrainTimeout. A second signal cuts
// this short, whatever is going on. After the failure of a listener there is no grace
// delay. The log has the lines "listening", "draining" and "drained" of each server, with
// the key service if it has a Name. At the end Run waits until the log is written, for a
// second at most. While it runs, SIGPIPE is ignored: a log whose reader has gone ends nothing.
//
// Run returns nil after a clean stop, a *StartError when it did not begin to serve, ErrCut
// when connections had to be reset, and otherwise what ended a listener. The values of ctx are those of every connection's
// context.
func (g *Group) Run(ctx context.Context) error {
	signals := g.notify() // first, so that a signal is not lost
	defer signals.stop()
	defer logger.Flush(flushTimeout)
	if err := g.start(ctx); err != nil {
		return &StartError{err}
	}
	stopReload := signals.onReload(g.OnReload)
	defer stopReload()
	select {
	case sig := <-signals.stops:
		stopReload()
		return g.stop(signals.stops, slog.String("signal", sig.String()), g.longestGrace())
	case <-ctx.Done():
		stopReload()
		return g.stop(signals.stops, slog.String("cause", context.Cause(ctx).Error()), g.longestGrace())
	case err := <-g.failed: // the clients there are need not suffer
		stopReload()
		return errors.Join(err, g.stop(signals.stops, slog.String("cause", "listener failed"), 0))
	}
}

// start listens for g.Servers and begins to serve them: all or none.
func (g *Group) start(ctx context.Context) error {
	g.mu.Lock()
	servers, phase := slices.Clone(g.Servers), g.phase
	g.phase, g.ctx, g.failed = groupRunning, ctx, make(chan error, 1)
	g.mu.Unlock()
	if phase != groupNew {
		return errGroupRuns
	}
	members, err := listenAll(ctx, servers)
	for _, m := range members {
		err = errors.Join(err, g.serve(m)) // fails if Add has taken the name
	}
	if err != nil {
		err = errors.Join(err, g.stop(nil, slog.String("cause", err.Error()), 0))
	}
	return err
}

// listenAll listens for all of the servers, or returns none.
func listenAll(ctx context.Context, servers []*Server) (members []*member, err error) {
	if err := checkServers(servers); err != nil {
		return nil, err
	}
	for _, s := range servers {
		m, err := newMember(ctx, s)
		if err != nil {
			for _, m := range members {
				m.ln.Close()
			}
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

// checkServers reports what is wrong with any of the servers.
func checkServers(servers []*Server) error {
	var errs []error
	for i, s := range servers {
		for _, other := range servers[:i] {
			errs = append(errs, conflict(s, other))
		}
		errs = append(errs, s.setup())
	}
	return errors.Join(errs...)
}

// conflict reports why s cannot be in a group together with other; nil if it can.
func conflict(s, other *Server) error {
	switch {
	case s == other:
		return s.named(errors.New("tcp: the server is in the group already"))
	case s.Name != "" && s.Name == other.Name:
		return fmt.Errorf("tcp: two servers have the name %s", s.Name)
	}
	return nil
}

// serve begins to serve a member, unless the group stops or has a server that conflicts
// with it: then the member's listener is closed.
func (g *Group) serve(m *member) error {
	if err := g.admit(m); err != nil {
		m.ln.Close()
		return err
	}
	m.server.logListening(m.ln) // not under mu: a stop must not wait for the log
	go func() {
		defer close(m.served)
		err := m.server.serveListener(context.WithoutCancel(g.ctx), m.ln)
		if errors.Is(err, ErrServerClosed) {
			return
		}
		select {
		case g.failed <- m.server.named(err):
		default:
		}
		m.server.log().Error("listener failed", "addr", m.ln.Addr().String(), "err", err)
	}()
	return nil
}

// admit makes m a member.
func (g *Group) admit(m *member) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase == groupStopping {
		return ErrServerClosed
	}
	for _, other := range g.members {
		if err := conflict(m.server, other.server); err != nil {
			return err
		}
	}
	g.members = append(g.members, m)
	return nil
}

// Add listens for s and serves it with the others. Before Run it is the same as to append
// s to Servers. After the stop has begun it returns ErrServerClosed.
func (g *Group) Add(s *Server) error {
	g.mu.Lock()
	ctx, phase := g.ctx, g.phase
	if phase == groupNew {
		g.Servers = append(g.Servers, s)
	}
	g.mu.Unlock()
	switch phase {
	case groupNew:
		return nil
	case groupStopping:
		return ErrServerClosed
	}
	m, err := newMember(ctx, s)
	if err != nil {
		return err
	}
	return g.serve(m)
}

// Remove stops s in good order, as Shutdown does, within its DrainTimeout or until ctx
// ends, and takes it out of the group. There is no grace delay. The error is as of
// Shutdown. The others go on, also if s was the last one.
func (g *Group) Remove(ctx context.Context, s *Server) error {
	m := g.member(s)
	if m == nil {
		return errNotServed
	}
	m.begin(slog.String("cause", "removed"), 0)
	err := m.stop(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	return err
}

func (g *Group) member(s *Server) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		if m.server == s {
			return m
		}
	}
	return nil
}

func (g *Group) longestGrace() (longest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		longest = max(longest, m.server.GraceDelay)
	}
	return longest
}

// stop stops all servers, after the grace delay, and tells the log how it went. The next
// signal cuts it short, whatever is going on.
func (g *Group) stop(signals <-chan os.Signal, why slog.Attr, grace time.Duration) error {
	g.mu.Lock()
	g.phase = groupStopping
	members := slices.Clone(g.members)
	g.mu.Unlock()

	ctx, cut := context.WithCancelCause(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-signals:
			cut(errSecondSignal)
		case <-ctx.Done():
		}
	})
	defer watch.Wait()
	defer cut(nil)

	for _, m := range members {
		m.begin(why, grace)
	}
	pause(ctx, grace)
	errs := make([]error, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { errs[i] = m.stop(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// member is a server of a group that runs.
type member struct {
	server *Server
	ln     net.Listener
	served chan struct{} // closed when Serve has returned

	draining, drained sync.Once // the lines in the log
}

// newMember listens for s.
func newMember(ctx context.Context, s *Server) (*member, error) {
	ln, err := s.listen(ctx)
	if err != nil {
		return nil, s.named(err)
	}
	return &member{server: s, ln: ln, served: make(chan struct{})}, nil
}

// begin tells the server and the log that the server is about to stop.
func (m *member) begin(why slog.Attr, grace time.Duration) {
	s := m.server
	s.beginDrain()
	m.draining.Do(func() {
		s.log().Info("draining", why, "clients", s.serving.Count(),
			logger.Seconds("grace", grace), logger.Seconds("timeout", s.drainTimeout()))
	})
}

// stop shuts the server down within its DrainTimeout, or until ctx ends, and tells the log
// how it went.
func (m *member) stop(ctx context.Context) error {
	s := m.server
	bounded, cancel := context.WithTimeoutCause(ctx, s.drainTimeout(), errDrainTimeout)
	defer cancel()
	err := s.shutdown(bounded)
	m.drained.Do(func() { s.logDrained(err) })
	select {
	case <-m.served:
	case <-time.After(cutGrace): // Accept of the listener does not return
	}
	if err != nil {
		err = s.named(err)
	}
	return err
}
