package handler

import "wireline/internal/eventloop"

// callOnIdle is the reason of a timeout that does not end the client.
const callOnIdle Reason = "on_idle"

// noteRead notes that the client was not silent until its last activity, for ReadTimeout.
func (c *Client) noteRead() {
	if c.timeouts().Read <= 0 {
		return
	}
	c.lastRead = coarseTime(c.lastActivity.Load())
	if c.flags.has(pinged) {
		c.flags.clear(pinged)
	}
}

// silenceDue returns when the client has been silent for so long that OnIdle is to be called, or
// that ReadTimeout has expired.
func (c *Client) silenceDue(t *clientTimeouts) (due int64, why Reason) {
	if t.Read <= 0 || c.flags.has(holding) {
		return 0, ""
	}
	limit, why := t.Read, ReasonReadTimeout
	switch half := limit / 2; {
	case c.frames.OnIdle == nil:
	case c.flags.has(pinged):
		limit -= half
	default:
		limit, why = half, callOnIdle
	}
	return eventloop.After(c.lastRead.near(c.lastActivity.Load()), limit), why
}

// callOnIdle calls OnIdle. The other half of ReadTimeout begins when it has returned.
func (c *Client) callOnIdle() {
	c.flags.set(pinged)
	c.beginBatch()
	c.continueAfter(c.frames.OnIdle(c))
	c.endBatch()
	c.lastRead = coarseTime(c.conn.Now())
}
