package handler

import (
	"math"
	"time"

	"wireline/lib/field"
)

// Limit bounds how fast one client may send. A client that is faster is not read from for a while,
// so that TCP slows it down; nothing is dropped. The zero value sets no limit.
//
// A client that waits goes on in steps of 20 ms or more, so a burst is at least what the rate
// allows in 50 ms.
type Limit struct {
	// Frames is how many frames of the client are served, or discarded, a second. Zero means no
	// limit.
	Frames float64 `config:"frames" default:"0" help:"frames a second that are served for each client, 0 = no limit"`

	// FrameBurst is how many frames are served at once after a time without any. Zero means as many
	// as in a second, and at least one.
	FrameBurst int `config:"frame_burst" default:"0" help:"frames that may come at once, 0 = as many as in a second"`

	// Bytes is how many bytes are read from the client a second; under TLS, after decryption. Zero
	// means no limit.
	Bytes int `config:"bytes,size" default:"0" help:"bytes a second that are read from each client, 0 = no limit"`

	// ByteBurst is how many bytes are read at once after a time without any. Zero means as many
	// as in a second.
	ByteBurst int `config:"byte_burst,size" default:"0" help:"bytes that may come at once, 0 = as many as in a second"`
}

// validate returns an error for every field that is out of range, joined with errors.Join.
func (l *Limit) validate() error {
	var e field.Errors
	e.Check(l.Frames >= 0 && !math.IsInf(l.Frames, 1), "Limit.Frames", l.Frames, "must be a number, and not negative")
	e.Check(l.Bytes >= 0, "Limit.Bytes", l.Bytes, "must not be negative")
	e.Check(l.FrameBurst >= 0, "Limit.FrameBurst", l.FrameBurst, "must not be negative")
	e.Check(l.ByteBurst >= 0, "Limit.ByteBurst", l.ByteBurst, "must not be negative")
	e.Check(l.FrameBurst <= 0 || l.Frames != 0, "Limit.FrameBurst", l.FrameBurst, "needs a rate")
	e.Check(l.ByteBurst <= 0 || l.Bytes != 0, "Limit.ByteBurst", l.ByteBurst, "needs a rate")
	return e.Err()
}

const (
	limitStep  = 20 * time.Millisecond // the shortest wait of a client that has reached its Limit
	leastBurst = 50 * time.Millisecond // a timer may be late by 20 ms: nothing is lost by that
	mostBurst  = 1 << 60               // nanoseconds; sums with times do not overflow
)

// limits is a Limit, ready to be used.
type limits struct{ frames, bytes bucket }

// newLimits returns nil if l sets no limit.
func newLimits(l Limit) *limits {
	set := &limits{frames: newBucket(l.Frames, l.FrameBurst), bytes: newBucket(float64(l.Bytes), l.ByteBurst)}
	if *set == (limits{}) {
		return nil
	}
	return set
}

// pace is how much of its Limit a client has used.
type pace struct{ frames, bytes level }

// bucket is a token bucket. Its contents are counted in nanoseconds, the time that it takes to fill
// them in: so the level of one client is a single number, and filling takes no arithmetic.
// The zero value sets no limit.
type bucket struct {
	cost float64 // of one token
	size int64
	step int64 // a client waits until there is as much as this
}

// level is the time when a bucket will be full again. It is full if that is over.
type level int64

func newBucket(rate float64, burst int) bucket {
	if !(rate > 0) {
		return bucket{}
	}
	cost := min(float64(time.Second)/rate, mostBurst)
	size := float64(burst) * cost
	if burst <= 0 {
		size = float64(time.Second)
	}
	return bucket{
		cost: cost,
		size: int64(math.Ceil(min(max(size, cost, float64(leastBurst)), mostBurst))),
		step: int64(math.Ceil(max(cost, float64(limitStep)))),
	}
}

// left returns how many tokens there are at now.
func (b *bucket) left(full level, now int64) int {
	have := b.size - max(int64(full)-now, 0)
	return int(min(max(float64(have)/b.cost, 0), math.MaxInt32))
}

// take takes n tokens, also more than there are.
func (b *bucket) take(full *level, now int64, n int64) {
	*full = level(max(int64(*full), now) + int64(min(float64(n)*b.cost, mostBurst)))
}

// due returns when a client that waits may go on.
func (b *bucket) due(full level) int64 { return int64(full) - b.size + b.step }

// limited reports whether the client has reached its Limit, and arranges for it to go on. Before
// that, it is neither read from nor served, and no read timeout runs. A client that is leaving does
// not wait.
func (c *Client) limited() bool {
	if c.frames.limits == nil || c.flags.has(leaving) {
		return false
	}
	b, full := c.nextToken()
	if b == nil {
		return false
	}
	if b.left(full, c.conn.Now()) > 0 {
		if c.input.has(slowed) {
			c.input.clear(slowed)
			c.restartTimeouts()
		}
		return false
	}
	c.input.set(slowed)
	c.suspendFrame()
	c.arm(b.due(full))
	return true
}

// endUnstarted ends a client that is not read from, because of its Limit or because replies are
// pending, if FirstFrameTimeout has expired: that runs on, or the client could gain time again and
// again. It reports whether it did.
func (c *Client) endUnstarted() bool {
	due, why := c.firstFrameDue(c.timeouts())
	switch {
	case due == 0:
		return false
	case c.conn.Now() < due:
		c.arm(due)
		return false
	}
	c.endLate(why)
	return true
}

// nextToken returns what the client needs next of its Limit; nil if there is nothing.
func (c *Client) nextToken() (*bucket, level) {
	l, used := c.frames.limits, c.special.pace
	switch {
	case c.input.has(buffered) && l.frames.cost > 0:
		return &l.frames, used.frames
	case !c.input.has(buffered|eof) && c.input.has(unread) && l.bytes.cost > 0:
		return &l.bytes, used.bytes
	}
	return nil, 0
}

// frameBudget returns how many frames may be served now. It is at least one.
func (c *Client) frameBudget() int {
	l := c.frames.limits
	if l == nil || l.frames.cost == 0 || c.flags.has(leaving) {
		return math.MaxInt
	}
	return max(l.frames.left(c.special.pace.frames, c.conn.Now()), 1)
}

// payFrames notes that n frames were served or discarded.
func (c *Client) payFrames(n int64) {
	if l := c.frames.limits; l != nil && l.frames.cost > 0 {
		l.frames.take(&c.special.pace.frames, c.conn.Now(), n)
	}
}

// byteBudget returns the part of space that may be filled now. It is not empty.
func (c *Client) byteBudget(space []byte) []byte {
	l := c.frames.limits
	if l == nil || l.bytes.cost == 0 || c.flags.has(leaving) {
		return space
	}
	n := max(l.bytes.left(c.special.pace.bytes, c.conn.Now()), 1)
	return space[:min(n, len(space))]
}

// payBytes notes that n bytes were read.
func (c *Client) payBytes(n int) {
	if l := c.frames.limits; l != nil && l.bytes.cost > 0 {
		l.bytes.take(&c.special.pace.bytes, c.conn.Now(), int64(n))
	}
}
