package proxy

import (
	"errors"
	"fmt"
)

// UpstreamState says what an operator wants of an upstream, however it is doing.
type UpstreamState string

const (
	// UpstreamUp is the state at the beginning: the upstream gets clients while it is up.
	UpstreamUp UpstreamState = "up"
	// UpstreamDrain gives the upstream no new clients, and closes the connections in its pool.
	// Its pairs go on until they end by themselves. It is still checked. A weight of 0 does the
	// same.
	UpstreamDrain UpstreamState = "drain"
	// UpstreamDown is UpstreamDrain for an upstream that is to be left alone: it is not checked.
	UpstreamDown UpstreamState = "down"
	// UpstreamRemoved is the state of an upstream that Proxy.Reconfigure has removed, until its
	// last pair has ended. SetUpstream cannot set it, or change it.
	UpstreamRemoved UpstreamState = "removed"
)

// ErrNoSuchUpstream is what SetUpstream returns for a name that no upstream has.
var ErrNoSuchUpstream = errors.New("proxy: no such upstream")

// UpstreamChange is what is to change of an upstream.
type UpstreamChange struct {
	State  UpstreamState // empty means as it is
	Weight *int          // from 0 to 256; nil means as it is

	// By is who wants it, for the line in the log; empty if there is nobody to name.
	By string
}

// validate reports what is wrong with the change.
func (c UpstreamChange) validate() error {
	switch c.State {
	case "", UpstreamUp, UpstreamDrain, UpstreamDown:
	default:
		return fmt.Errorf("proxy: the state %q is none of up, drain and down", c.State)
	}
	if w := c.Weight; w != nil && (*w < 0 || *w > maxWeight) {
		return fmt.Errorf("proxy: the weight %d is not from 0 to %d", *w, maxWeight)
	}
	return nil
}

// SetUpstream changes the upstream with this UpstreamStats.Name, for the clients that come from
// now on. If the new state is UpstreamUp, it also counts as up until a connect fails. If
// SetUpstream returns an error, nothing has changed; it is ErrNoSuchUpstream if there is none, or
// it was removed.
func (x *Proxy) SetUpstream(name string, c UpstreamChange) error {
	x.init()
	x.changes.Lock()
	defer x.changes.Unlock()
	u, err := x.upstream(name)
	if err = errors.Join(err, c.validate()); err != nil {
		return err
	}
	if c.Weight != nil {
		u.weight.Store(int64(*c.Weight))
	}
	if c.State != "" {
		u.setState(c.State)
	}
	x.restartTurns()
	if c.State == UpstreamUp {
		u.health.reset()
	}
	u.pool.adapt()
	x.logChange(u, c.By)
	return nil
}

// logChange says how an upstream is now, and at whose request.
func (x *Proxy) logChange(u *upstream, by string) {
	s := u.stats()
	attrs := []any{"upstream", u.key, "state", string(s.State), "weight", s.Weight}
	if by != "" {
		attrs = append(attrs, "client", by)
	}
	x.log().Info("upstream changed", attrs...)
}

// restartTurns makes round robin begin anew: what the upstreams are owed by the weights of before
// would give some of them too many clients now.
func (x *Proxy) restartTurns() {
	x.turns.Lock()
	defer x.turns.Unlock()
	for _, u := range x.settings.Load().upstreams {
		u.credit = 0
	}
}

// upstream returns the upstream with this key. The caller holds changes.
func (x *Proxy) upstream(name string) (*upstream, error) {
	for _, u := range x.settings.Load().upstreams {
		if u.key == name {
			return u, nil
		}
	}
	for _, u := range x.removed {
		if u.key == name && u.active.Load() > 0 {
			return nil, fmt.Errorf("%w: %q was removed from the configuration", ErrNoSuchUpstream, name)
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoSuchUpstream, name)
}

func (u *upstream) setState(s UpstreamState) { u.state.Store(&s) }

func (u *upstream) is(s UpstreamState) bool { return *u.state.Load() == s }

// takesClients reports whether new clients may be sent to the upstream.
func (u *upstream) takesClients() bool { return u.is(UpstreamUp) && u.weight.Load() > 0 }
