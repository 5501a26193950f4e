package tcp

import (
	"context"
	"errors"
	"net"

	"wireline/lib/field"
)

// handover is the way of a listening socket from a server that is removed, or gets another
// address, to a server of the same Change that is to have its address. The new listener has a
// descriptor of its own on the same socket: so the queue goes with it, and until give the old one
// accepts as before.
type handover struct {
	server  *Server   // that has the socket
	removed bool      // server is removed
	from    *listener // its own one
	config  Config    // in force, with the port that was bound

	to     *listener // nil as long as nobody takes the socket
	taker  *settings // those of its server
	revert func()    // undoes what was done to the socket file
}

var errCannotShare = errors.New("a listener cannot be handed over on this system")

// newHandover returns the handover of the listener that s has opened, or nil if there is none.
func newHandover(s *Server, removed bool) *handover {
	l, cfg := s.bound()
	if l == nil {
		return nil
	}
	return &handover{server: s, removed: removed, from: l, config: cfg, revert: func() {}}
}

// bound returns the listener that s has opened itself, nil without one, and the configuration in
// force. A port that the system has chosen is in Address.
func (s *Server) bound() (*listener, Config) {
	l, cfg := s.ownListener(), s.Settings()
	if l == nil {
		return nil, cfg
	}
	if _, port := splitAddress(cfg.listenNetwork(), cfg.address()); cfg.network() != "unix" && port == 0 {
		cfg.Address = l.ln.Addr().String()
	}
	return l, cfg
}

// fits reports whether the socket can be that of a server with the configuration next.
func (h *handover) fits(next *Config) bool {
	if owner, ok := h.from.ln.(fileOwner); ok && !owner.hasFile() {
		return false
	}
	return h.to == nil && h.config.sameAddress(next) && h.config.listenNetwork() == next.listenNetwork()
}

// take makes the listener that s, with the settings next, is to have on the socket. It does all that
// can fail. The caller checks the listener.
func (h *handover) take(s *Server, values context.Context, next *settings) (*listener, error) {
	if err := next.tryOptions(); err != nil {
		return nil, err
	}
	_ = next.keepSocket(&h.config)
	shared, err := shareListener(h.from.ln)
	if err != nil {
		return nil, next.inUseError(h.server, &h.config, "until this change, and "+err.Error()+": change it in two steps")
	}
	revert := func() {}
	if owner, ok := h.from.ln.(fileOwner); ok {
		if revert, err = owner.changeFile(next.socketFile(new(field.Errors))); err != nil {
			shared.Close()
			return nil, err
		}
	}
	l := s.newListener(values, h.wrap(shared, &next.Config), &next.Config)
	l.shared, l.owner = true, h.from.owner
	h.to, h.taker, h.revert = l, next, revert
	return l, nil
}

// wrap makes of shared what listen would make of it for cfg. SO_LINGER of the socket stays.
func (h *handover) wrap(shared net.Listener, cfg *Config) net.Listener {
	if tcp, ok := shared.(*net.TCPListener); ok {
		return &tunedListener{tcp, !cfg.Socket.NoDelay.On(), h.from.mode}
	}
	if owner, ok := h.from.ln.(fileOwner); ok {
		return owner.heir(shared)
	}
	return shared
}

// fileOwner is a listener that removes its socket file when it is closed.
type fileOwner interface {
	hasFile() bool                  // the file is still there
	heir(net.Listener) net.Listener // another one on the same socket, which does not own the file yet
	setOwns(bool)

	// changeFile gives the file what f says. revert undoes it.
	changeFile(f socketFile) (revert func(), err error)
}

// give ends the old listener without a look into its queue; the accept loop of a server that stays
// goes on with its new listener. A server that has begun to stop gets nothing.
func (h *handover) give() {
	if h.to.server.isStopping() {
		h.revert()
		return
	}
	if from, ok := h.from.ln.(fileOwner); ok {
		from.setOwns(false)
		h.to.ln.(fileOwner).setOwns(true)
	}
	h.from.given.Store(true)
	if h.removed {
		h.from.halt()
		h.from.interrupt()
	}
	h.to.setChanged(&h.taker.Config, &h.config)
}

// finish makes what the old accept loop may still accept go to the new server, which serves now.
func (h *handover) finish() {
	if h.from.given.Load() {
		h.from.owner.Store(h.to)
	}
}

// forward gives a, which was accepted after the handover, to the server that has the socket now. It
// reports false if there is none, or if that one stops.
func (l *listener) forward(a *accepted) bool {
	to := l.owner.Load()
	if to == nil || to == l {
		return false
	}
	s := to.server
	s.mu.Lock()
	stopping := s.isStopping()
	if !stopping {
		s.accepting.Add(1)
	}
	s.mu.Unlock()
	if stopping {
		return false
	}
	set := s.settings.Load()
	a.from = to.newTerms(set)
	if conn, ok := a.more().conn.(*net.TCPConn); ok { // it has the options of the old server
		conn.SetNoDelay(set.Socket.NoDelay.On())
		conn.SetKeepAliveConfig(set.keepAliveConfig())
	}
	go func() { // it may wait for a place
		defer s.accepting.Done()
		s.start(a)
	}()
	return true
}

// inUseError is the error of an address that s has, whose configuration is now; until says for how
// long, if that is known.
func (c *Config) inUseError(s *Server, now *Config, until string) error {
	reason := "overlaps " + now.address() + ", where " + s.shown() + " listens"
	if now.sameAddress(c) {
		reason = "is where " + s.shown() + " listens"
	}
	if until != "" {
		reason += " " + until
	}
	return &keyError{
		text: "tcp.address: " + c.address() + " " + reason,
		bad:  &field.Error{Field: "Address", Value: c.address(), Reason: reason},
	}
}

// shown is how an error of another server names s.
func (s *Server) shown() string {
	if s.Name == "" {
		return "the server without a name"
	}
	return "the service " + s.Name
}
