package handler

import "wireline/internal/eventloop"

// silenceUnit is the unit of Client.lastRead, as a power of two of nanoseconds: about 17 ms. So
// 32 bits, which fit between other fields, are enough.
const silenceUnit = 24

// callOnIdle is the reason of a timeout that does not end the client.
const callOnIdle Reason = "on_idle"

// noteRead notes that the client was not silent until its last activity, for ReadTimeout.
func (c *Client) noteRead() {
	if c.frames.ReadTimeout <= 0 {
		return
	}
	c.setLastRead(c.lastActivity.Load())
	if c.flags.has(pinged) {
		c.flags.clear(pinged)
	}
}

// setLastRead rounds up, so that no timeout comes too early.
func (c *Client) setLastRead(at int64) {
	c.lastRead = uint32((at + 1<<silenceUnit - 1) >> silenceUnit)
}

// silenceDue returns when the client has been silent for so long that OnIdle is to be called, or
// that ReadTimeout has expired; zero if that does not run.
func (c *Client) silenceDue() int64 {
	limit := c.frames.ReadTimeout
	if limit <= 0 || c.flags.has(holding) {
		return 0
	}
	if c.flags.has(relieved) {
		c.flags.clear(relieved)
		c.restartSilence(c.lastActivity.Load())
	}
	// lastRead is the lower part of a time that is not far from the last activity.
	near := c.lastActivity.Load() >> silenceUnit
	last := (near - int64(int32(uint32(near)-c.lastRead))) << silenceUnit
	if c.silenceReason() == callOnIdle {
		limit /= 2
	}
	return eventloop.After(last, limit)
}

// silenceReason returns what is to happen at silenceDue.
func (c *Client) silenceReason() Reason {
	if c.frames.OnIdle != nil && !c.flags.has(pinged) {
		return callOnIdle
	}
	return ReasonReadTimeout
}

// restartSilence begins ReadTimeout again, at now; after OnIdle was called, the other half of it.
func (c *Client) restartSilence(now int64) {
	if c.flags.has(pinged) {
		now -= int64(c.frames.ReadTimeout / 2)
	}
	c.setLastRead(now)
}

// callOnIdle calls OnIdle. The other half of ReadTimeout begins when it has returned.
func (c *Client) callOnIdle() {
	c.flags.set(pinged)
	c.beginBatch()
	c.continueAfter(c.frames.OnIdle(c))
	c.endBatch()
	c.restartSilence(c.conn.Now())
}
