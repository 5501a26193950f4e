package handler

import (
	"cmp"
	"math"
	"time"

	"wireline/internal/eventloop"
)

// retireTime is how long a client whose MaxLifetime is over may take to complete a frame that it
// has begun.
const retireTime = time.Second

// lifetime returns the MaxLifetime of the client with this ID, with its jitter. It is the same in
// each call, so a client need not remember it.
func (h *Frames) lifetime(id uint64) time.Duration {
	jitter := min(max(cmp.Or(h.MaxLifetimeJitter, h.MaxLifetime/10), 0), h.MaxLifetime)
	// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014) turns the ID into a random number.
	x := (id + h.seed) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	share := float64(x>>11)/(1<<52) - 1 // in [-1, 1)
	life := h.MaxLifetime + time.Duration(share*float64(jitter))
	if life < 0 { // an overflow
		return math.MaxInt64
	}
	return life
}

// checkLifetime asks the client to end if its MaxLifetime is over. Otherwise it sees to it that the
// timer expires then: arm never puts that off. So MaxLifetime costs nothing but at Accept
// and when the timer has expired.
func (c *Client) checkLifetime() {
	if c.frames.MaxLifetime <= 0 || c.flags.has(retired) {
		return
	}
	left := c.frames.lifetime(c.id) - c.begin.Elapsed()
	if left <= 0 {
		c.flags.set(retired)
		c.conn.Wake()
		return
	}
	c.arm(eventloop.After(c.conn.Now(), left))
}

// retire ends a client whose MaxLifetime is over. It reports whether the client is to wait: it may
// complete a frame that it has begun. A frame that has arrived is served.
func (c *Client) retire(w *eventloop.Worker) (wait bool) {
	now := c.conn.Now()
	e := c.getEndState()
	if e.lastReadEnds == 0 {
		e.lastReadEnds = now + int64(retireTime)
	}
	if now <= e.lastReadEnds {
		c.receive(w, c.transport().Look)
		if c.input.has(buffered) || c.ended() {
			return false
		}
		if c.frameBegan != 0 {
			c.arm(e.lastReadEnds + 1)
			return true
		}
	}
	c.endLeaving()
	return false
}

// endLeaving ends a client that serves no further frame, because of a drain or MaxLifetime, unless
// it is held.
func (c *Client) endLeaving() {
	switch {
	case c.awaitRelease():
	case c.flags.has(draining):
		c.end(ByServer, ReasonDrain, nil)
	default:
		c.end(ByServer, ReasonMaxLifetime, nil)
	}
}
