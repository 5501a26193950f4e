package proxy

import (
	"context"
	"sync"
	"time"
)

// health says whether an upstream is up, judging by the connects to it. It begins as up.
type health struct {
	upstream *upstream

	mu        sync.Mutex
	down      bool
	fails     int       // in a row
	successes int       // in a row, of checks while down
	retry     time.Time // when a client may try it although it is down
	since     time.Time // when it went down or came up; zero if it was up all the time
	cause     error     // what took it down; nil while it is up
}

// state reports whether the upstream is up, since when, and what took it down.
func (h *health) state() (up bool, since time.Time, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down, h.since, h.cause
}

// checked reports whether checks decide when an upstream is up again.
func (h *health) checked() bool { return h.cfg().Interval > 0 }

// cfg returns the configuration in force.
func (h *health) cfg() *HealthConfig { return &h.upstream.proxy.settings.Load().cfg.Health }

// usable reports whether a client may be sent to the upstream: it is up, or a client is to
// find out whether it is.
func (h *health) usable(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down || !h.checked() && !now.Before(h.retry)
}

// claim notes that a client is sent to the upstream. If that is down, no other client is
// sent there for a while.
func (h *health) claim(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		h.retry = now.Add(h.cfg().retry())
	}
}

// release takes back claim: the client has ended before it was known whether the upstream is up.
func (h *health) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retry = time.Time{}
}

// succeeded notes a connect for a client or the pool. Where there are checks, only they
// bring an upstream up.
func (h *health) succeeded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = 0
	if h.down && !h.checked() {
		h.risesLocked()
	}
}

// failed notes a connect that failed.
func (h *health) failed(now time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.successes = 0
	h.fails++
	cfg := h.cfg()
	if !h.down && h.fails >= cfg.fall() {
		h.down, h.since, h.cause = true, now, err
		h.retry = now.Add(cfg.retry())
		h.upstream.proxy.log().Warn("upstream down", "upstream", h.upstream.name, "failures", h.fails, "err", err)
	}
}

// risen notes a check that succeeded.
func (h *health) risen() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = 0
	if !h.down {
		return
	}
	if h.successes++; h.successes >= h.cfg().rise() {
		h.risesLocked()
	}
}

// reset makes the upstream count as up, whatever was before.
func (h *health) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = 0
	if h.down {
		h.risesLocked()
	}
}

func (h *health) risesLocked() {
	h.down, h.successes, h.since, h.cause = false, 0, time.Now(), nil
	h.upstream.proxy.log().Info("upstream up", "upstream", h.upstream.name)
}

// adapt has a shorter time until a client tries an upstream that is down take effect.
func (h *health) adapt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if latest := time.Now().Add(h.cfg().retry()); h.retry.After(latest) {
		h.retry = latest
	}
}

// check connects to the upstream at intervals, until ctx ends.
func (h *health) check(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		h.checkOnce(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// checkOnce connects to the upstream, unless an operator has taken it down.
func (h *health) checkOnce(ctx context.Context) {
	if h.upstream.is(UpstreamDown) {
		return
	}
	// An upstream that wants the PROXY header reports an error without one. This one names
	// no client: its command is LOCAL, in version 1 its protocol UNKNOWN.
	s := h.upstream.proxy.settings.Load()
	conn, err := h.upstream.dial(ctx, s, s.cfg.Health.timeout(), header{version: s.cfg.SendProxy})
	if err == nil {
		conn.Close()
		h.risen()
	}
}
