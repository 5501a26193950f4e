package handler

import (
	"time"

	"wireline/internal/closing"
)

// crypto/tls also writes by itself: answers to KeyUpdates, alerts, the close_notify. This file is
// about what the connection does not accept of that. See transport.TLS.Queued.

// watchTLS starts the write timeout if the connection does not accept what a read has made
// crypto/tls write. Of a client that has ended, finishTLS sees to that.
func (c *Client) watchTLS() {
	t := c.tls()
	if t == nil || c.ended() || !t.Queued() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchTLSLocked()
	c.countOutputLocked()
}

// watchTLSLocked is watchTLS for a caller that holds mu.
func (c *Client) watchTLSLocked() {
	t := c.tls()
	if t == nil || c.ended() || c.sending.has(blocked|failed|gone) || !t.Queued() {
		return
	}
	if err := c.blockLocked(c.outputLocked(), false); err != nil {
		c.writeFailedLocked(err)
	}
}

// finishTLS prepares a client that has ended for its FIN: it reports whether the connection has
// accepted everything, the close_notify too. If not, finish is called again when it has. If the
// client accepts nothing for too long, finishTLS gives up and returns true.
func (c *Client) finishTLS() (done bool) {
	t := c.tls()
	if t == nil {
		return true
	}
	c.mu.Lock()
	done = t.Finish()
	if !done {
		c.sending.set(tlsQueued)
	}
	end := c.endStateLocked()
	c.mu.Unlock()
	if done {
		return true
	}
	now := c.conn.Now()
	if unsent := t.Unsent(); end.accepted == 0 || unsent < end.unsent {
		end.unsent, end.accepted = unsent, now
	}
	limit := c.finishLimit()
	due := end.accepted + int64(limit)
	if now >= due {
		return true
	}
	c.arm(min(due, now+checkInterval(limit)))
	return false
}

// finishLimit is for how long the client may accept nothing before finishTLS gives up.
func (c *Client) finishLimit() time.Duration {
	limit, _ := c.writeLimit()
	if mode, _ := c.closeMode(); mode.Limit() > 0 {
		limit = min(limit, mode.Limit())
	}
	if c.flags.has(draining) {
		limit = min(limit, closing.ShortLinger)
	}
	return limit
}
