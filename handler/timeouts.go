package handler

import (
	"errors"
	"os"
	"time"
)

// flushTimeout bounds the wait for output to a client that has ended, where no write
// timeout does.
const flushTimeout = 10 * time.Second

var (
	errWriteTimeout = errors.New("write timeout")
	errIdleTimeout  = errors.New("idle timeout while writing")
)

// touch notes that a byte was read or written.
func (c *Client) touch() { c.lastActivity.Store(c.conn.Now()) }

// noteFrame notes since when a part of a frame is waiting.
func (c *Client) noteFrame(began int64) {
	switch {
	case !c.holds():
		c.frameBegan = 0
	case began == 0:
		c.frameBegan = c.lastActivity.Load()
	default:
		c.frameBegan = began
	}
}

// restartTimeouts has the timeouts for reading run afresh, as the client was not read
// from.
func (c *Client) restartTimeouts() {
	c.touch()
	if c.frameBegan != 0 {
		c.frameBegan = c.lastActivity.Load()
	}
}

// nextDue returns when the first timeout for reading expires, by the connection's clock;
// zero if none runs.
func (c *Client) nextDue() (due int64) {
	c.restartFrame()
	if idle := c.frames.IdleTimeout; idle > 0 {
		due = c.lastActivity.Load() + int64(idle)
	}
	if limit := c.frames.FrameTimeout; limit > 0 && c.frameBegan != 0 {
		if end := c.frameBegan + int64(limit); due == 0 || end < due {
			due = end
		}
	}
	return due
}

// late returns the timeout for reading that has expired; empty if none has.
func (c *Client) late() Reason {
	due := c.nextDue()
	if due == 0 {
		return ""
	}
	now := c.conn.Now()
	switch limit := c.frames.FrameTimeout; {
	case now < due:
		return ""
	case limit > 0 && c.frameBegan != 0 && now >= c.frameBegan+int64(limit):
		return ReasonFrameTimeout
	}
	return ReasonIdleTimeout
}

// endLate ends the client because of the timeout that has expired, after the handler's
// last words.
func (c *Client) endLate() {
	why := c.late()
	c.beginBatch()
	c.endInput(why, os.ErrDeadlineExceeded)
	c.endBatch()
	c.touch()
}

// arm has Expired called at due, zero for never. A timer that expires before is left as it
// is: Expired arms the next.
func (c *Client) arm(due int64) {
	if at := c.timer.Load(); due == 0 || at != 0 && at <= due {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armLocked(due)
}

func (c *Client) armLocked(due int64) {
	if at := c.timer.Load(); c.sending.has(gone) || at != 0 && at <= due {
		return
	}
	c.timer.Store(due)
	c.conn.SetTimer(due)
}

// writeLimit returns for how long the client may take nothing of what is written,
// zero for ever, and the error when it is over. A client that has ended is not
// waited for without a bound.
func (c *Client) writeLimit() (limit time.Duration, late error) {
	limit, late = c.frames.WriteTimeout, errWriteTimeout
	if limit == 0 && c.ended() {
		limit = flushTimeout
	}
	if idle := c.frames.IdleTimeout; idle > 0 && (limit == 0 || idle < limit) {
		limit, late = idle, errIdleTimeout
	}
	return limit, late
}

// firstLooks is how many times a client that takes nothing is looked at soon: the first
// look finds out how much is unsent, and where only an interrupted write can tell, the
// second one does.
const firstLooks = 2

// nextLook returns after how long to look again whether the client takes something.
func (o *output) nextLook(limit time.Duration) int64 {
	every := min(max(limit/16, 10*time.Millisecond), time.Second)
	if o.looks < firstLooks {
		every = min(every, 20*time.Millisecond)
	}
	return int64(every)
}

// checkStall resets a client that takes nothing for too long. It may be called
// while a frame of the client is being served, which may wait for just that.
func (c *Client) checkStall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit, late := c.writeLimit()
	if !c.sending.has(blocked) || c.sending.has(gone|failed) || limit == 0 {
		return
	}
	o, now := c.out, c.conn.Now()
	// Of a little progress no event tells: for that, a good part of the socket's buffer
	// has to come free.
	switch left := c.conn.Unsent(); {
	case o.looks < firstLooks:
		o.looks++
		o.left, o.stalled = left, now
	case left < o.left:
		o.left, o.stalled = left, now
		c.touch()
	}
	if due := o.stalled + int64(limit); now < due {
		c.armLocked(min(due, now+o.nextLook(limit)))
		return
	}
	c.breakLocked(late)
	c.abortLocked()
}
