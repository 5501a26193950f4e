package tcp

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"

	"wireline/lib/field"
)

// Reconfigure makes cfg the configuration, all of it or, with an error, nothing. What it says of
// connections holds for those that are accepted from now on; those that are there stay as they
// are. What it says of the server holds at once: MaxClients and WhenFull, also for clients that
// wait, AcceptRate, DrainTimeout, GraceDelay, TLS.MaxHandshakes, Log.
//
// Fields that cannot change keep their value, which is no error; Config.Fixed names them. The other
// socket options are set on the listener, if the server has opened it itself. Connections that the
// kernel has in its queue have the old ones. On a listener that was passed to Serve, they change
// nothing.
//
// For another Address or Network, the server opens a new listener. If that cannot be bound, nothing
// has changed. Then the server accepts from the new one; what is in the queue of the old one is
// accepted, and it is closed. The call of ListenAndServe, or the Group, goes on with the new one.
// The new address must not overlap the old one, as 127.0.0.1:80 does :80. Listeners that were
// passed to Serve stay, and so do those of earlier calls of ListenAndServe, if there were several.
//
// MaxClientsPerIP and MaxClientsPerPrefix count the clients that came while there was such a limit,
// and for MaxClientsPerPrefix with networks of the same size. The others are not counted.
// MaxBuffered is for new clients; those that are there share the old one. It has no effect if
// Server.Memory is set, and TLS has only MaxHandshakes if Server.TLSConfig is. Session tickets stay
// valid, whatever changes.
//
// ctx bounds what has to be looked up to listen. cfg must not be changed any more. After the stop
// of the server has begun, the error is ErrServerClosed.
func (s *Server) Reconfigure(ctx context.Context, cfg Config) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	open := func(ctx, values context.Context, set *settings) (*listener, error) {
		return s.openListener(ctx, values, set, (*Server).checkListener)
	}
	c, err := s.prepare(ctx, cfg, open)
	if err != nil {
		return s.named(err)
	}
	return c.apply()
}

// reconfiguration is what Reconfigure is about to do. Either apply or abandon must be called, with
// Server.changing held from the start.
type reconfiguration struct {
	server   *Server
	settings *settings
	listener *listener // on the new address; nil if that stays
}

// opener opens a listener of a server for new settings. It may change those options in them that a
// listener cannot have that is there already.
type opener func(ctx, values context.Context, set *settings) (*listener, error)

// prepare makes a reconfiguration, as far as it can fail. open opens the listener for another
// address.
func (s *Server) prepare(ctx context.Context, cfg Config, open opener) (*reconfiguration, error) {
	s.init()
	if s.setupErr != nil {
		return nil, s.setupErr
	}
	if s.isStopping() {
		return nil, ErrServerClosed
	}
	next, err := s.nextSettings(cfg)
	if err != nil {
		return nil, err
	}
	l, err := s.nextListener(ctx, next, open)
	return &reconfiguration{s, next, l}, err
}

// nextSettings makes settings of cfg.
func (s *Server) nextSettings(cfg Config) (*settings, error) {
	if err := s.validateConfig(cfg); err != nil {
		return nil, err
	}
	now := s.settings.Load()
	cfg, _ = now.keepFixed(cfg) // which goes together with the rest, as the address stays then
	next := s.newSettings(cfg, now)
	var err error
	next.tls, err = s.tlsConfig(&next.TLS, now)
	return next, err
}

// nextListener opens the listener that takes the place of the server's own. It returns nil if that
// stays, or if there is none.
func (s *Server) nextListener(ctx context.Context, next *settings, open opener) (*listener, error) {
	own := s.ownListener()
	now := s.settings.Load()
	switch {
	case own == nil:
		return nil, nil
	case now.sameAddress(&next.Config):
		return nil, next.tryOptions()
	case now.Overlaps(&next.Config):
		return nil, next.overlapError(&now.Config)
	}
	return open(ctx, own.values, next)
}

// ownListener returns the listener that the server has opened itself, or nil.
func (s *Server) ownListener() *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}

// overlapError is the error of an address that cannot be bound while the server listens on that of
// now.
func (c *Config) overlapError(now *Config) error {
	reason := "overlaps " + now.address() + ", where the server listens: go by way of another address, or restart"
	return &keyError{
		text: "tcp.address: " + c.address() + " " + reason,
		bad:  &field.Error{Field: "Address", Value: c.address(), Reason: reason},
	}
}

// abandon changes nothing.
func (c *reconfiguration) abandon() {
	if c.listener != nil {
		c.listener.close()
	}
}

// apply makes the settings those in force. It fails only if the server has begun to stop.
func (c *reconfiguration) apply() error {
	s := c.server
	if s.isStopping() {
		c.abandon()
		return s.named(ErrServerClosed)
	}
	old := s.settings.Swap(c.settings)
	close(old.replaced)
	s.admission.wake()
	s.budgets.replace(c.settings.memory)
	s.handshakes.SetLimit(c.settings.TLS.MaxHandshakes)
	if c.listener != nil {
		s.move(c.listener)
	} else if own := s.ownListener(); own != nil {
		own.setChanged(&c.settings.Config, &old.Config)
	}
	return nil
}

// move lets next take the place of the server's own listener, which retires.
func (s *Server) move(next *listener) {
	if !s.retireFor(next) {
		next.close()
		return
	}
	s.logListening(next.ln)
}

// retireFor makes the accept loop of the server's own listener go on with next. It reports false if
// the loop has ended, or will.
func (s *Server) retireFor(next *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.own
	if old == nil || !s.addListener(next) {
		return false
	}
	old.retired, old.next = true, next
	old.halt()
	old.interrupt()
	return true
}

// changedOptions returns the options of a listening socket that c sets to another value than was
// does. Zero is the value of those that it does not set.
func (c *Config) changedOptions(was *Config) (list []optionValue) {
	before, after := was.options(), c.options()
	for _, o := range after {
		same := func(b optionValue) bool { return b.option == o.option && b.value == o.value }
		if !slices.ContainsFunc(before, same) {
			list = append(list, o)
		}
	}
	for _, o := range before {
		isSet := func(a optionValue) bool { return a.option == o.option }
		if !slices.ContainsFunc(after, isSet) {
			o.given, o.value = 0, 0
			list = append(list, o)
		}
	}
	return slices.DeleteFunc(list, func(o optionValue) bool {
		return o.option == closeLinger || o.option != backlog && (c.network() == "unix" || !inherited(o.option))
	})
}

// set sets an option of ln, which listens already.
func (o *optionValue) set(ln net.Listener) error {
	if o.option == backlog {
		return changeBacklog(ln, o.value)
	}
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = setOption(fd, o.option, o.value) }); ctlErr != nil {
		return ctlErr
	}
	return err
}
