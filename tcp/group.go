package tcp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
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
//
// Add, Remove and Change change the set of servers while it runs, Change also their configurations.
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
	// runs in a goroutine of its own, and may call Add, Remove and Change. A SIGHUP that comes
	// meanwhile makes it run once more. It is not called after the stop has begun.
	OnReload func()

	changing sync.Mutex // held while the set of servers, or a configuration, changes; before mu

	mu       sync.Mutex
	phase    groupPhase
	ctx      context.Context // of Run
	members  []*member
	shown    []*Server      // what All returns while the group runs
	leaving  []*member      // those that were removed and drain
	drained  []*Server      // those that were removed and have drained, until the next change
	removals sync.WaitGroup // drains of removed members in the background
	failed   chan error     // the first listener that has failed
}

// StartError is what a Group returns when it has not begun to serve: the configuration of a
// server is wrong, or its address cannot be bound. If one field is to blame, errors.As finds
// its *field.Error.
type StartError struct{ Err error }

// Error returns the text of Err.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// ServerError is an error of a server in a Group that has a Name.
type ServerError struct {
	Name string
	Err  error
}

// Error returns the text of Err with the name.
func (e *ServerError) Error() string { return "service " + e.Name + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *ServerError) Unwrap() error { return e.Err }

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
// when connections had to be reset, and otherwise what ended a listener. An error of a server
// that has a Name is a *ServerError. The values of ctx are those of every connection's
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
	g.changing.Lock()
	defer g.changing.Unlock()
	g.mu.Lock()
	servers, phase := slices.Clone(g.Servers), g.phase
	g.phase, g.ctx, g.failed = groupRunning, ctx, make(chan error, 1)
	g.mu.Unlock()
	if phase != groupNew {
		return errGroupRuns
	}
	err := checkServers(nil, servers)
	p := groupChange{group: g}
	defer p.unlock()
	var members []*member
	if err == nil {
		p.lock(servers)
		members, err = g.listenAll(ctx, servers, p.opener)
	}
	if err != nil {
		return errors.Join(err, g.stop(nil, slog.String("cause", err.Error()), 0))
	}
	g.mu.Lock()
	g.members = members
	g.showLocked()
	g.mu.Unlock()
	for _, m := range members {
		m.register()
	}
	for _, m := range members {
		g.serve(m)
	}
	return nil
}

// listenAll listens for all of the servers with the openers that by returns, or returns none. The
// caller holds Server.changing of each.
func (g *Group) listenAll(ctx context.Context, servers []*Server, by func(*Server) opener) (members []*member, err error) {
	for _, s := range servers {
		m, err := g.newMember(ctx, s, by(s))
		if err != nil {
			closeAll(members)
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

// closeAll closes the listeners of members that are not served.
func closeAll(members []*member) {
	for _, m := range members {
		m.listener.close()
	}
}

// checkServers reports what is wrong with any of the servers, beside those that are there.
func checkServers(there, servers []*Server) error {
	var errs []error
	for i, s := range servers {
		for _, other := range slices.Concat(there, servers[:i]) {
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

// showLocked makes the members those that All returns.
func (g *Group) showLocked() {
	g.shown, g.drained = nil, nil
	for _, m := range g.members {
		g.shown = append(g.shown, m.server)
	}
}

// serve begins to serve a member that is registered, unless the group has stopped it before that.
func (g *Group) serve(m *member) {
	if !m.registered {
		close(m.served)
		return
	}
	m.server.logListening(m.listener.ln) // not under mu: a stop must not wait for the log
	go func() {
		defer close(m.served)
		l := m.takeListener()
		err := m.server.serveListener(l.values, l)
		if errors.Is(err, ErrServerClosed) {
			return
		}
		select {
		case g.failed <- m.server.named(err):
		default:
		}
		attrs := []any{"err", err}
		var failed *acceptError
		if errors.As(err, &failed) {
			attrs = append([]any{"addr", failed.addr.String()}, attrs...)
		}
		m.server.log().Error("listener failed", attrs...)
	}()
}

// Add listens for s and serves it with the others. Before Run it is the same as to append
// s to Servers. After the stop has begun it returns ErrServerClosed.
func (g *Group) Add(s *Server) error {
	ctx, added := g.addBeforeRun(s)
	if added {
		return nil
	}
	return g.Change(ctx, Changes{Add: []*Server{s}})
}

// addBeforeRun is Add before Run. Otherwise it returns the context of Run.
func (g *Group) addBeforeRun(s *Server) (ctx context.Context, added bool) {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != groupNew {
		return g.ctx, false
	}
	g.Servers = append(g.Servers, s)
	return nil, true
}

// isLeaving reports whether s was removed and drains.
func (g *Group) isLeaving(s *Server) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.leaving, func(m *member) bool { return m.server == s })
}

// All returns an iterator over the servers of the group, in the order in which they were added:
// those that serve or are about to stop with the group, and before Run those that it starts with.
// Servers that were removed are not among them, also while they drain. Those that a Change adds
// come, and those that it removes go, at the same moment, when the new ones are ready.
func (g *Group) All() iter.Seq[*Server] {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Values(g.serversLocked())
}

// Leaving returns an iterator over the servers that were removed and drain, in the order in which
// they were removed. A server is in All or in Leaving, or its drain has ended.
func (g *Group) Leaving() iter.Seq[*Server] {
	g.mu.Lock()
	defer g.mu.Unlock()
	var servers []*Server
	for _, m := range g.leaving {
		if !slices.Contains(g.shown, m.server) {
			servers = append(servers, m.server)
		}
	}
	return slices.Values(servers)
}

// Drained returns an iterator over the servers that were removed and whose drain has ended. Their last
// counts can be read until the next Change, Add or Remove, which forgets them.
func (g *Group) Drained() iter.Seq[*Server] {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Values(slices.Clone(g.drained))
}

// serversLocked returns what All does.
func (g *Group) serversLocked() []*Server {
	if g.phase == groupNew {
		return slices.Clone(g.Servers)
	}
	return slices.Clone(g.shown)
}

// Remove takes s out of the group, and stops it in good order, as Shutdown does, within its
// DrainTimeout or until ctx ends. There is no grace delay. The error is as of Shutdown. The others
// go on, also if s was the last one. Changes with s in Remove are the same, without the wait.
func (g *Group) Remove(ctx context.Context, s *Server) error {
	g.changing.Lock()
	m := g.take(s)
	g.changing.Unlock()
	if m == nil {
		return errNotServed
	}
	return g.drain(ctx, m)
}

// take moves the member for s to those that leave. It returns nil if there is none.
func (g *Group) take(s *Server) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := func(m *member) bool { return m.server == s }
	if i := slices.IndexFunc(g.members, of); i >= 0 {
		m := g.members[i]
		g.members = slices.Delete(g.members, i, i+1)
		g.leaving = append(g.leaving, m)
		g.showLocked()
		return m
	}
	if i := slices.IndexFunc(g.leaving, of); i >= 0 { // another call removes it
		return g.leaving[i]
	}
	return nil
}

// drain stops a member that leaves.
func (g *Group) drain(ctx context.Context, m *member) error {
	m.begin(slog.String("cause", "removed"), 0)
	err := m.stop(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaving = slices.DeleteFunc(g.leaving, func(other *member) bool { return other == m })
	if !slices.Contains(g.drained, m.server) { // another call may have removed it too
		g.drained = append(g.drained, m.server)
	}
	return err
}

func (g *Group) longestGrace() (longest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		longest = max(longest, m.server.Settings().GraceDelay)
	}
	return longest
}

// stop stops all servers, after the grace delay, and tells the log how it went. The next
// signal cuts it short, whatever is going on.
func (g *Group) stop(signals <-chan os.Signal, why slog.Attr, grace time.Duration) error {
	g.mu.Lock()
	g.phase = groupStopping
	members := slices.Concat(g.members, g.leaving)
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
	g.removals.Wait()
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
	server   *Server
	settings *settings     // the first ones
	listener *listener     // the first one, until it is served
	served   chan struct{} // closed when Serve has returned

	registered bool // the server has taken the listener

	draining, drained sync.Once // the lines in the log
}

// newMember listens for s with open.
func (g *Group) newMember(ctx context.Context, s *Server, open opener) (*member, error) {
	set := *s.settings.Load() // which open may change
	l, err := open(ctx, context.WithoutCancel(g.ctx), &set)
	if err != nil {
		return nil, s.named(err)
	}
	return &member{server: s, settings: &set, listener: l, served: make(chan struct{})}, nil
}

// register makes the server ready. If the group has stopped it meanwhile, its listener is closed.
func (m *member) register() {
	m.server.settings.Store(m.settings)
	m.registered = m.server.register(m.listener) == nil
}

// takeListener returns the listener, and forgets it: the server may close it, and go on with others.
func (m *member) takeListener() *listener {
	l := m.listener
	m.listener = nil
	return l
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
