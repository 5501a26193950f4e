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
}

func (h *health) isUp() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down
}

// checked reports whether checks decide when an upstream is up again.
func (h *health) checked() bool { return h.upstream.proxy.Config.Health.Interval > 0 }

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
		h.retry = now.Add(h.upstream.proxy.Config.Health.retry())
	}
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

// check connects to the upstream at intervals, until ctx ends.
func (h *health) check(ctx context.Context) {
	cfg := &h.upstream.proxy.Config.Health
	ticker := time.NewTicker(cfg.Interval)
	defer ticker.Stop()
	// An upstream that wants the PROXY header reports an error without one. This one names
	// no client: its command is LOCAL, in version 1 its protocol UNKNOWN.
	header := header{version: h.upstream.proxy.Config.SendProxy}
	for {
		if conn, err := h.upstream.dial(ctx, cfg.timeout(), header); err == nil {
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
