package tcp

import (
	"crypto/tls"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"wireline/handler"
	"wireline/lib/logger"
)

// settings are a Config in force, and what is made of it. They are not changed, but replaced:
// Server.Reconfigure does that. A connection keeps those that were in force when it was accepted.
type settings struct {
	Config

	proxyproto headerPolicy
	networks   networks
	tls        *tls.Config     // nil without TLS
	memory     *handler.Memory // nil without a limit
	rate       *rate.Limiter   // nil without a limit
	asyncLog   *slog.Logger    // Config.Log; nil means slog.Default()

	replaced chan struct{} // closed when others are in force
}

// newSettings makes settings of cfg. prev are those that they are to replace; nil if they are the
// first ones. Without TLS nothing can fail.
func (s *Server) newSettings(cfg Config, prev *settings) *settings {
	set := &settings{
		Config:     cfg,
		proxyproto: cfg.headerPolicy(),
		networks:   cfg.networks(),
		replaced:   make(chan struct{}),
	}
	if cfg.Log != nil {
		set.asyncLog = logger.Async(cfg.Log)
	}
	if prev == nil {
		prev = &settings{Config: s.Config, memory: s.buffers()}
	}
	set.memory = prev.memory
	if cfg.MaxBuffered != prev.MaxBuffered {
		set.memory = s.newBuffers(&cfg)
	}
	set.limitRate(prev)
	return set
}

// limitRate limits the connections per second.
func (set *settings) limitRate(prev *settings) {
	switch {
	case set.AcceptRate <= 0:
	case set.AcceptRate == prev.AcceptRate && prev.rate != nil:
		set.rate = prev.rate
	default:
		// The connections of 10 ms may come at once: timers are not much finer.
		burst := max(1, int(set.AcceptRate/100))
		set.rate = rate.NewLimiter(rate.Limit(set.AcceptRate), burst)
	}
}

// refuses reports whether clients over MaxClients are refused.
func (set *settings) refuses() bool { return set.WhenFull == FullRefuse }

// Settings returns the configuration in force: that of the last Reconfigure, with the fields that
// could not change as they were, or else s.Config. It may be called at any time.
func (s *Server) Settings() Config {
	if set := s.settings.Load(); set != nil {
		return set.Config
	}
	return s.Config
}

// drainTimeout is the DrainTimeout in force.
func (s *Server) drainTimeout() time.Duration {
	cfg := s.Settings()
	return cfg.drainTimeout()
}
