package proxy

import (
	"fmt"
	"net"
	"slices"
)

// Reconfigure makes cfg the configuration, for the clients that come from now on; Proxy.Config
// stays as it is. Live pairs keep their settings and their upstream. A client whose connect is
// under way goes on with its own settings, and with the new ones if that connect fails.
//
// Everything in cfg may be different. An upstream with the same address as one before, and the
// same place among those of this address, is the same: it keeps its health, its counts, its turn
// and its pool, and what SetUpstream has set. A weight that SetUpstream has set holds until the
// weight in the configuration of that upstream changes, or SetUpstream sets another. The pools
// are emptied if TLS, SendProxy, KeepAlive or UserTimeout change. The files of Config.TLS are read
// at once, also if their names are the same. If they are, and so are their contents, the upstreams
// keep their TLS sessions.
//
// A removed upstream gets no new clients, is not checked and has no pool. Its pairs go on until
// they end by themselves; until then, Upstreams has it as UpstreamRemoved. If it is added again
// meanwhile, it goes on counting, and otherwise begins anew: up, with the weight of cfg.
//
// If Reconfigure returns an error, nothing has changed: it is that of Validate, or wraps
// net.ErrClosed after Shutdown was called. As Validate, it does not know the addresses of
// listeners; see Config.CheckListener. It may be called at any time and from any goroutine;
// several calls are carried out one after the other. It may wait for the disk, up to 10 seconds
// for files of TLS that hang; Prepare does that in advance.
func (x *Proxy) Reconfigure(cfg Config) error {
	commit, err := x.Prepare(cfg)
	if err != nil {
		return err
	}
	return commit()
}

// Prepare does the part of Reconfigure that can fail or wait: it checks cfg and reads the files of TLS.
// commit does the rest, with what was read. It neither waits nor fails, with two exceptions: after
// Shutdown was called it returns an error, and if another configuration has come into force since
// Prepare, it is Reconfigure, with all that can happen there. Nothing changes before commit is called; it
// need not be. Prepare is for programs that change several things at once, or nothing.
func (x *Proxy) Prepare(cfg Config) (commit func() error, err error) {
	x.init()
	if err := x.validate(&cfg); err != nil {
		return nil, err
	}
	x.reloads.Lock()
	defer x.reloads.Unlock()
	old := x.settings.Load()
	next := x.newSettings(cfg)
	if err := next.loadTLS(old); err != nil {
		return nil, err
	}
	return func() error {
		done, err := x.commit(old, next)
		if !done {
			return x.Reconfigure(cfg)
		}
		return err
	}, nil
}

// commit puts settings in force that were made while old were, unless others are now.
func (x *Proxy) commit(old, next *settings) (done bool, err error) {
	x.reloads.Lock()
	defer x.reloads.Unlock()
	if x.settings.Load() != old {
		return false, nil
	}
	return true, x.apply(next)
}

// apply puts settings in force. The caller holds reloads.
func (x *Proxy) apply(next *settings) error {
	x.changes.Lock()
	defer x.changes.Unlock()
	if x.closing {
		return fmt.Errorf("proxy: it is shut down: %w", net.ErrClosed)
	}
	old := x.settings.Load()
	changed := next.enter(old) // before a client can see them
	x.settings.Store(next)
	for _, u := range old.upstreams {
		if !slices.Contains(next.upstreams, u) {
			u.leave() // after no further client can choose it
			x.removed = append(x.removed, u)
		}
	}
	x.removed = slices.DeleteFunc(x.removed, func(u *upstream) bool { return !u.is(UpstreamRemoved) })
	x.dropRemoved()
	for _, u := range next.upstreams {
		u.health.adapt()
		u.pool.adapt()
		x.work(u)
	}
	if len(changed) > 0 {
		x.restartTurns()
	}
	for _, u := range changed {
		x.logChange(u, "")
	}
	return nil
}

// enter prepares the upstreams for new settings. It returns those whose weight has changed.
func (s *settings) enter(old *settings) (changed []*upstream) {
	for i, u := range s.upstreams {
		t, _ := parseUpstream(s.cfg.Upstreams[i])
		u.index.Store(int64(i))
		switch {
		case u.is(UpstreamRemoved):
			u.health.reset()
			u.configured = t.weight
			u.weight.Store(int64(t.weight))
			u.setState(UpstreamUp)
			fallthrough
		case !slices.Contains(old.upstreams, u):
			s.proxy.log().Info("upstream added", "upstream", u.key, "weight", t.weight)
		case u.configured != t.weight:
			u.configured = t.weight
			u.weight.Store(int64(t.weight))
			changed = append(changed, u)
		}
	}
	return changed
}

// leave ends what is done for an upstream that is not in the configuration any more. Its pairs go
// on.
func (u *upstream) leave() {
	u.setState(UpstreamRemoved)
	u.filling.end()
	u.checking.end()
	u.pool.adapt()
	u.proxy.turns.Lock()
	u.credit = 0
	u.proxy.turns.Unlock()
	u.proxy.log().Info("upstream removed", "upstream", u.key, "connections", u.active.Load())
}

// dropRemoved forgets the removed upstreams that have no pairs any more. The caller holds changes.
func (x *Proxy) dropRemoved() {
	x.removed = slices.DeleteFunc(x.removed, func(u *upstream) bool { return u.active.Load() == 0 })
}

// known returns the upstreams in force, and those that were removed and have pairs.
func (x *Proxy) known() []*upstream {
	x.changes.Lock()
	defer x.changes.Unlock()
	s := x.settings.Load()
	if s == nil {
		return nil
	}
	x.dropRemoved()
	return slices.Concat(s.upstreams, x.removed)
}
