package proxy

import (
	"context"
	"sync"
	"time"
)

// health is whether an upstream is up, by the connects to it. The zero value, with
// its upstream, is up.
type health struct {
	upstream *upstream

	mu        sync.Mutex
	down      bool
	fails     int       // in a row
	successes int       // in a row, of checks while down
	retry     time.Time // when a client may try although it is down
}

func (h *health) isUp() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down
}

// checked reports whether checks decide when an upstream is up again.
func (h *health) checked() bool { return h.upstream.proxy.Config.Health.Interval > 0 }

// usable reports whether a client may be sent there: it is up, or it is time to see
// whether it is.
func (h *health) usable(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down || !h.checked() && !now.Before(h.retry)
}

// claim notes that a client is sent there: if the upstream is down, no further one is
// for a while.
func (h *health) claim(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		h.retry = now.Add(h.upstream.proxy.Config.Health.retry())
	}
}

// succeeded notes a connect of a client's or the pool's. Where there are checks, they
// have more to say.
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
	cfg := &h.upstream.proxy.Config.Health
	if !h.down && h.fails >= cfg.fall() {
		h.down = true
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
	if h.successes++; h.successes >= h.upstream.proxy.Config.Health.rise() {
		h.risesLocked()
	}
}

func (h *health) risesLocked() {
	h.down, h.successes = false, 0
	h.upstream.proxy.log().Info("upstream up", "upstream", h.upstream.name)
}

// check looks at the upstream now and then, until ctx ends.
func (h *health) check(ctx context.Context) {
	cfg := &h.upstream.proxy.Config.Health
	ticker := time.NewTicker(cfg.Interval)
	defer ticker.Stop()
	for {
		if conn, err := h.upstream.dial(ctx, cfg.timeout()); err == nil {
			conn.Close()
			h.risen()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
