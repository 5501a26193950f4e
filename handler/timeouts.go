package handler

import (
	"errors"
	"os"
	"time"

	"wireline/internal/eventloop"
)

// flushTimeout bounds the wait for pending output of a client that has ended, if there
// is no WriteTimeout.
const flushTimeout = 10 * time.Second

var (
	errWriteTimeout = errors.New("write timeout")
	errIdleTimeout  = errors.New("idle timeout while writing")
)

// touch records that a byte was read or written now.
func (c *Client) touch() { c.lastActivity.Store(c.conn.Now()) }

// noteFrameBegan sets when the partial frame in the buffer began: at began, or at the
// last activity if began is zero.
func (c *Client) noteFrameBegan(began int64) {
	switch {
	case !c.holdsInput() && !c.holdsRecord():
		c.frameBegan = 0
	case began == 0:
		c.frameBegan = c.lastActivity.Load()
	default:
		c.frameBegan = began
	}
}

// holdsRecord reports whether crypto/tls holds a part of a record.
func (c *Client) holdsRecord() bool {
	t := c.tls()
	return t != nil && t.Partial()
}

// restartTimeouts restarts the read timeouts, because the handler has not read from the
// client for a while.
func (c *Client) restartTimeouts() {
	c.touch()
	c.restartSilence(c.lastActivity.Load())
	if c.frameBegan != 0 {
		c.frameBegan = c.lastActivity.Load()
	}
}

// nextDue returns when the first read timeout expires, by the clock of the connection;
// zero if none runs.
func (c *Client) nextDue() (due int64) {
	c.restartAfterPause()
	if idle := c.frames.IdleTimeout; idle > 0 && !c.flags.has(holding) {
		due = eventloop.After(c.lastActivity.Load(), idle)
	}
	if limit := c.frames.FrameTimeout; limit > 0 && c.frameBegan != 0 {
		if end := eventloop.After(c.frameBegan, limit); due == 0 || end < due {
			due = end
		}
	}
	if end := c.silenceDue(); end != 0 && (due == 0 || end < due) {
		due = end
	}
	return due
}

// expiredTimeout returns the reason for the read timeout that has expired, or "" if
// none has.
func (c *Client) expiredTimeout() Reason {
	due := c.nextDue()
	if due == 0 {
		return ""
	}
	now := c.conn.Now()
	switch limit := c.frames.FrameTimeout; {
	case now < due:
		return ""
	case limit > 0 && c.frameBegan != 0 && now >= eventloop.After(c.frameBegan, limit):
		return ReasonFrameTimeout
	}
	if end := c.silenceDue(); end != 0 && now >= end {
		return c.silenceReason()
	}
	return ReasonIdleTimeout
}

// endTimedOut ends the client if a read timeout has expired, and reports whether it has. It
// calls OnError first. At half of ReadTimeout it calls OnIdle instead.
func (c *Client) endTimedOut() bool {
	why := c.expiredTimeout()
	switch why {
	case "":
		return false
	case callOnIdle:
		c.callOnIdle()
		return c.ended()
	}
	c.beginBatch()
	c.endInput(why, os.ErrDeadlineExceeded)
	c.endBatch()
	c.touch()
	return true
}

// arm arranges for Expired to be called at due; zero means never. A timer that expires
// earlier is not changed: Expired arms the next one.
func (c *Client) arm(due int64) {
	if at := c.timerDue.Load(); due == 0 || at != 0 && at <= due {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armLocked(due)
}

func (c *Client) armLocked(due int64) {
	if at := c.timerDue.Load(); c.sending.has(gone) || at != 0 && at <= due {
		return
	}
	c.timerDue.Store(due)
	c.conn.SetTimer(due)
}

// writeLimit returns for how long the client may accept nothing of the pending output,
// and the error when that expires. Zero means no limit. A client that has ended always
// has a limit.
func (c *Client) writeLimit() (limit time.Duration, timeoutErr error) {
	limit, timeoutErr = c.frames.WriteTimeout, errWriteTimeout
	if limit == 0 && c.ended() {
		limit = flushTimeout
	}
	if idle := c.frames.IdleTimeout; idle > 0 && (limit == 0 || idle < limit) {
		limit, timeoutErr = idle, errIdleTimeout
	}
	return limit, timeoutErr
}

// earlyChecks is how many of the first checks of a stalled client happen soon. The
// first check finds out how much is unsent. If only an interrupted write can tell, the
// second one does.
const earlyChecks = 2

// checkInterval returns how long to wait until the next check for progress.
func checkInterval(limit time.Duration) int64 {
	return int64(min(max(limit/16, 10*time.Millisecond), time.Second))
}

// checkInterval is the function of that name, but the first checks come earlier.
func (o *output) checkInterval(limit time.Duration) int64 {
	if o.checks < earlyChecks {
		limit = min(limit, 16*20*time.Millisecond)
	}
	return checkInterval(limit)
}

// checkStall resets a client that has accepted no output for too long. It may run while
// a frame of the client is being served; the frame function may be waiting in Write for
// this client.
func (c *Client) checkStall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit, timeoutErr := c.writeLimit()
	if !c.sending.has(blocked) || c.sending.has(gone|failed) || limit == 0 {
		return
	}
	o, now := c.out, c.conn.Now()
	if o.Size() == 0 && c.ended() {
		return // only TLS has something queued: see finishTLS
	}
	// A little progress causes no event: the socket becomes writable only when a good
	// part of its buffer is free. So compare how much is unsent.
	switch unsent := c.transport().Unsent(); {
	case o.checks < earlyChecks:
		o.checks++
		o.unsent, o.stalled = unsent, now
	case unsent < o.unsent:
		o.unsent, o.stalled = unsent, now
		c.touch()
	}
	if due := eventloop.After(o.stalled, limit); now < due {
		c.armLocked(min(due, now+o.checkInterval(limit)))
		return
	}
	c.writeFailedLocked(timeoutErr)
	c.abortLocked()
}
