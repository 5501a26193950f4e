package tcp

import (
	"context"
	"errors"
	"net"
	"slices"

	"wireline/lib/field"
)

// Changes are what Group.Change does, all or nothing.
type Changes struct {
	// Add are servers that the group is to listen for and to serve. They have not been shut
	// down.
	Add []*Server

	// Remove are servers of the group that are to stop in good order, each within its
	// DrainTimeout and without a grace delay. They do so in the background; Run waits for them
	// at the end. Their names and their addresses are free for the servers of Add and Set; for
	// others, an address is when the line "drained" is in the log.
	Remove []*Server

	// Set are servers of the group that are to get another configuration, as by
	// Server.Reconfigure.
	Set map[*Server]Config

	// CheckListener, if set, is asked in the place of the method CheckListener of the handler,
	// with each address that a server of Add or Set is to listen on from now on. It is for
	// handlers that Commit gives another configuration: they know only the old one until then.
	CheckListener func(s *Server, addr net.Addr) error

	// Commit, if set, is called once, when all new listeners are open and nothing can fail any
	// more, before a new listener accepts and before anything else changes. It must not change
	// the group or one of its servers.
	Commit func()
}

var (
	errRemovedAndSet   = errors.New("tcp: the server cannot be removed and get another configuration")
	errRemovedAndAdded = errors.New("tcp: a server that is removed cannot be added again")
)

// Change does c while the group runs. It checks all of it and opens the new listeners first. If
// that fails, nothing has changed, and the listeners that it has opened are closed. The error joins
// what is wrong with each server; that of a server with a Name is a *ServerError, and errors.As
// finds the *field.Error if a field is to blame. Fields that cannot change keep their value:
// Config.Fixed names them.
//
// A server of Add or Set may get the address of one that is removed, or gets another address, in the
// same Change; two servers may swap theirs. The listening socket is handed over: no client is
// refused, and those in its queue are the new server's. Until nothing can fail any more, the old
// server accepts from it. The socket gets the options of the new configuration as by Reconfigure,
// but keeps Socket.ReusePort, and a ReceiveBuffer or SendBuffer that the new one leaves to the
// system. A socket file stays, and gets SocketMode and SocketGroup, if they are set. Hosts and ports
// are compared as they are written; names are not looked up. An address that only overlaps, as
// 127.0.0.1:80 does :80, or is the same on another Network, is an error until the old server has
// closed its listener. Port 0 is never handed over. Systems other than Unix cannot hand over.
//
// ctx bounds what has to be looked up to listen. Before Run, Change changes Servers, and opens
// nothing. After the stop has begun it returns ErrServerClosed.
func (g *Group) Change(ctx context.Context, c Changes) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	p := groupChange{group: g, Changes: c}
	defer p.unlock()
	if err := p.prepare(ctx); err != nil {
		p.abandon()
		return err
	}
	if !p.admit() {
		p.abandon()
		return ErrServerClosed
	}
	if c.Commit != nil {
		c.Commit()
	}
	p.apply()
	return nil
}

// groupChange is a change of a group that is under way.
type groupChange struct {
	Changes
	group   *Group
	running bool // Run has begun

	stay    []*Server          // those of the group that are not removed
	locked  []*Server          // whose lock changing is held
	vacated []*handover        // of the addresses that servers give up
	added   []*member          // whose listeners are open
	set     []*reconfiguration // that are prepared
	leaves  []*member          // that are removed
}

// prepare does all that can fail.
func (p *groupChange) prepare(ctx context.Context) error {
	g := p.group
	g.mu.Lock()
	there, phase := g.serversLocked(), g.phase
	g.mu.Unlock()
	if phase == groupStopping {
		return ErrServerClosed
	}
	p.running = phase == groupRunning
	if err := p.check(there); err != nil {
		return err
	}
	p.lock(slices.Concat(there, p.Add))
	p.vacate(there)
	var errs []error
	for _, s := range p.stay {
		if cfg, ok := p.Set[s]; ok {
			c, err := s.prepare(ctx, cfg, p.opener(s))
			if err != nil {
				errs = append(errs, s.named(err))
				continue
			}
			p.set = append(p.set, c)
		}
	}
	if errs != nil || !p.running {
		return errors.Join(errs...)
	}
	var err error
	p.added, err = g.listenAll(ctx, p.Add, p.opener)
	return err
}

// lock lets nobody else change the configuration of servers until unlock: until then their own
// listeners are those that are known here.
func (p *groupChange) lock(servers []*Server) {
	for _, s := range servers {
		s.changing.Lock()
	}
	p.locked = servers
}

func (p *groupChange) unlock() {
	for _, s := range p.locked {
		s.changing.Unlock()
	}
}

// vacate finds the listeners of servers that are removed or get another address; there are the
// servers of the group.
func (p *groupChange) vacate(there []*Server) {
	for _, s := range there {
		removed := slices.Contains(p.Remove, s)
		cfg, set := p.Set[s]
		now := s.Settings()
		if !removed && (!set || now.sameAddress(&cfg)) {
			continue
		}
		if h := newHandover(s, removed); h != nil {
			p.vacated = append(p.vacated, h)
		}
	}
}

// opener returns what opens the listener of s, or takes over that of another server.
func (p *groupChange) opener(s *Server) opener {
	return func(ctx, values context.Context, set *settings) (*listener, error) {
		for _, h := range p.vacated {
			if h.fits(&set.Config) {
				return p.take(h, s, values, set)
			}
		}
		l, err := s.openListener(ctx, values, set, p.checkListener)
		if err != nil {
			return nil, p.explain(s, &set.Config, err)
		}
		return l, nil
	}
}

// take lets s take over the socket of h.
func (p *groupChange) take(h *handover, s *Server, values context.Context, set *settings) (*listener, error) {
	if err := p.checkListener(s, h.from.ln.Addr()); err != nil {
		return nil, err
	}
	return h.take(s, values, set)
}

// checkListener reports why s must not listen on a.
func (p *groupChange) checkListener(s *Server, a net.Addr) error {
	if p.CheckListener == nil {
		return s.checkListener(a)
	}
	return handlerError(p.CheckListener(s, a))
}

// explain returns err of a listener of s with the configuration cfg, or says which other server of
// the group has the address.
func (p *groupChange) explain(s *Server, cfg *Config, err error) error {
	var bad *field.Error
	if !errors.As(err, &bad) || bad.Field != "Address" {
		return err
	}
	for _, other := range p.locked {
		l, now := other.bound()
		if other == s || l == nil || !now.Overlaps(cfg) {
			continue
		}
		until := ""
		if slices.ContainsFunc(p.vacated, func(h *handover) bool { return h.server == other }) {
			until = "until this change: change it in two steps"
		}
		return cfg.inUseError(other, &now, until)
	}
	return err
}

// check reports what is wrong with the changes; there are the servers of the group.
func (p *groupChange) check(there []*Server) error {
	var errs []error
	for _, s := range p.Remove {
		if !slices.Contains(there, s) {
			errs = append(errs, s.named(errNotServed))
		}
	}
	p.stay = slices.DeleteFunc(slices.Clone(there), func(s *Server) bool { return slices.Contains(p.Remove, s) })
	for s := range p.Set {
		switch {
		case slices.Contains(p.Remove, s):
			errs = append(errs, s.named(errRemovedAndSet))
		case !slices.Contains(p.stay, s):
			errs = append(errs, s.named(errNotServed))
		}
	}
	errs = append(errs, checkServers(p.stay, p.Add))
	for _, s := range p.Add {
		switch {
		case slices.Contains(p.Remove, s):
			errs = append(errs, s.named(errRemovedAndAdded))
		case s.setupErr == nil && s.isStopping() || p.group.isLeaving(s):
			errs = append(errs, s.named(ErrServerClosed))
		}
	}
	return errors.Join(errs...)
}

// abandon undoes prepare.
func (p *groupChange) abandon() {
	for _, h := range p.vacated {
		h.revert()
	}
	closeAll(p.added)
	for _, c := range p.set {
		c.abandon()
	}
}

// admit makes the servers of the group those that it is to have. From now on a stop of the group
// stops them too. It reports false if the stop has begun.
func (p *groupChange) admit() bool {
	g := p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase == groupStopping {
		return false
	}
	if !p.running {
		g.Servers = slices.Concat(p.stay, p.Add)
		return true
	}
	var members []*member
	for _, m := range g.members {
		if slices.Contains(p.Remove, m.server) {
			p.leaves = append(p.leaves, m)
		} else {
			members = append(members, m)
		}
	}
	g.members = append(members, p.added...)
	g.leaving = append(g.leaving, p.leaves...)
	g.removals.Add(len(p.leaves))
	return true
}

// show makes All return the servers that the group has now.
func (p *groupChange) show() {
	if !p.running {
		return
	}
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	p.group.showLocked()
}

// apply does what cannot fail any more. What the group has stopped meanwhile stays as it is.
func (p *groupChange) apply() {
	g := p.group
	for _, m := range p.added {
		m.register()
	}
	p.show() // before an old listener ends: at no time is a server of All not ready
	for _, h := range p.vacated {
		if h.to != nil {
			h.give()
		}
	}
	for _, c := range p.set {
		_ = c.apply() // the server stops
	}
	for _, m := range p.added {
		g.serve(m)
	}
	for _, h := range p.vacated {
		h.finish()
	}
	for _, m := range p.leaves {
		go func() {
			defer g.removals.Done()
			_ = g.drain(context.WithoutCancel(g.ctx), m) // the log has the error
		}()
	}
}
