package proxy

import (
	"slices"
)

// settings are a configuration, and what is made of it. They do not change. A pair keeps those
// that were in force when its client came; Proxy.Reconfigure puts others in their place.
type settings struct {
	proxy       *Proxy
	cfg         Config
	dialOptions []dialOption // of cfg; for sockets that an event loop connects
	upstreams   []*upstream  // in the order of cfg.Upstreams
	tls         upstreamTLS  // not used without TLS

	// generation changes with what connections to upstreams are like: a connection in a pool
	// is of use only to settings of the generation that it was made with.
	generation int
}

// newSettings makes settings of cfg. The upstreams that the proxy has stay the same.
func (x *Proxy) newSettings(cfg Config) *settings {
	s := &settings{proxy: x, cfg: cfg}
	s.cfg.Upstreams = slices.Clone(cfg.Upstreams)
	s.dialOptions = s.cfg.dialOptions()
	s.tls.settings = s
	there, used := map[string]*upstream{}, map[string]bool{}
	for _, u := range x.known() {
		there[u.key] = u
	}
	for i, text := range s.cfg.Upstreams {
		t, _ := parseUpstream(text)
		key := t.name
		for used[key] {
			key += "'"
		}
		used[key] = true
		u := there[key]
		if u == nil {
			u = newUpstream(x, i, key, t)
		}
		s.upstreams = append(s.upstreams, u)
	}
	if old := x.settings.Load(); old != nil {
		s.generation = old.generation
		if !s.cfg.dialsLike(&old.cfg) {
			s.generation++
		}
	}
	return s
}

// dialsLike reports whether the connections to upstreams are like those of the configuration d.
func (c *Config) dialsLike(d *Config) bool {
	return c.TLS == d.TLS && c.SendProxy.orOff() == d.SendProxy.orOff() &&
		c.KeepAlive.netKeepAlive() == d.KeepAlive.netKeepAlive() && c.UserTimeout == d.UserTimeout
}

// inForce reports whether no others have taken the place of these settings.
func (s *settings) inForce() bool { return s.proxy.settings.Load() == s }

// speaksTLS reports whether the proxy speaks TLS to its upstreams.
func (s *settings) speaksTLS() bool { return s.proxy.TLSConfig != nil || s.cfg.TLS.Enable }

// loadTLS reads the files of TLS, if there are any, unless that is done. It returns what is wrong
// with them. old are the settings in force, or nil.
func (s *settings) loadTLS(old *settings) error {
	if !s.speaksTLS() {
		return nil
	}
	s.tls.load(old)
	return s.tls.err()
}
