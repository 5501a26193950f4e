package handler

import (
	"errors"
	"os"
	"time"

	"wireline/internal/eventloop"
)

const (
	// defaultWriteTimeout is used when Frames.WriteTimeout is zero: a client that never reads would
	// otherwise hold up whoever writes to it, and keep its output, for ever.
	defaultWriteTimeout = 30 * time.Second

	// flushTimeout bounds the wait for pending output of a client that has ended, if Frames or
	// SetTimeouts has set no WriteTimeout.
	flushTimeout = 10 * time.Second
)

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
		c.input.clear(extended)
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
// client for a while. It does not restart FirstFrameTimeout, and FrameTimeout goes on where it was
// suspended: a client could cause that again and again.
func (c *Client) restartTimeouts() {
	c.touch()
	c.lastRead = coarseTime(c.lastActivity.Load())
	c.resumeFrame()
}

// restartFrame has FrameTimeout begin again, at the last activity.
func (c *Client) restartFrame() {
	if c.frameBegan != 0 {
		c.frameBegan = c.lastActivity.Load()
	}
}

// suspendFrame stops FrameTimeout, because the client is not read from. Until resumeFrame,
// frameBegan is not when the frame began, but how much of its time is over, as a negative number.
func (c *Client) suspendFrame() {
	if c.frameBegan > 0 {
		c.frameBegan = min(c.frameBegan-c.conn.Now(), -1)
	}
}

// resumeFrame goes on with FrameTimeout.
func (c *Client) resumeFrame() {
	if c.frameBegan < 0 {
		c.frameBegan = max(c.conn.Now()+c.frameBegan, 1)
	}
}

// startTimeouts starts the read timeouts, or restarts them, and FirstFrameTimeout too.
func (c *Client) startTimeouts() {
	c.restartTimeouts()
	c.opened = coarseTime(c.lastActivity.Load())
}

// readTimeout tells when a read timeout expires, by the clock of the connection, and why the client
// ends then. due is zero if the timeout does not run.
type readTimeout func(c *Client, t *clientTimeouts) (due int64, why Reason)

// readTimeouts are all of them. If several expire at the same time, the first one counts.
var readTimeouts = [...]readTimeout{
	(*Client).frameDue,
	(*Client).firstFrameDue,
	(*Client).silenceDue,
	(*Client).idleDue,
}

func (c *Client) idleDue(t *clientTimeouts) (due int64, why Reason) {
	if t.Idle > 0 && !c.flags.has(holding) {
		due = eventloop.After(c.lastActivity.Load(), t.Idle)
	}
	return due, ReasonIdleTimeout
}

func (c *Client) frameDue(t *clientTimeouts) (due int64, why Reason) {
	if t.Frame > 0 && c.frameBegan > 0 {
		due = eventloop.After(c.frameBegan, t.Frame)
	}
	return due, ReasonFrameTimeout
}

func (c *Client) firstFrameDue(t *clientTimeouts) (due int64, why Reason) {
	if t.FirstFrame > 0 && c.count.FramesIn+c.framesIn == 0 && !c.flags.has(holding) {
		due = eventloop.After(c.opened.near(c.lastActivity.Load()), t.FirstFrame)
	}
	return due, ReasonFirstFrameTimeout
}

// nextTimeout returns the read timeout that expires first; a due of zero if none runs. The caller is
// the serving goroutine.
func (c *Client) nextTimeout() (due int64, why Reason) {
	c.restartAfterPause()
	t := c.timeouts()
	for _, timeout := range readTimeouts {
		if end, reason := timeout(c, t); end != 0 && (due == 0 || end < due) {
			due, why = end, reason
		}
	}
	return due, why
}

// nextDue returns when the first read timeout expires, by the clock of the connection;
// zero if none runs.
func (c *Client) nextDue() (due int64) {
	due, _ = c.nextTimeout()
	return due
}

// expiredTimeout returns the reason for the read timeout that has expired, or "" if
// none has.
func (c *Client) expiredTimeout() Reason {
	due, why := c.nextTimeout()
	if due == 0 || c.conn.Now() < due {
		return ""
	}
	return why
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
	c.endLate(why)
	return true
}

// endLate ends the client because a read timeout has expired.
func (c *Client) endLate(why Reason) {
	c.beginBatch()
	c.endInput(why, os.ErrDeadlineExceeded)
	c.endBatch()
	c.touch()
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
// and the error when that expires. Zero means no limit. A client that has ended, or is to end because
// of MaxLifetime, always has a limit.
func (c *Client) writeLimit() (limit time.Duration, timeoutErr error) {
	t := c.timeouts()
	limit, timeoutErr = t.Write, errWriteTimeout
	if c.ended() || c.flags.has(retired) {
		limit = t.lastWrite
	}
	if t.Idle > 0 && (limit == 0 || t.Idle < limit) {
		limit, timeoutErr = t.Idle, errIdleTimeout
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
