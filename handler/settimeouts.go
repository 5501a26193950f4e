package handler

import (
	"cmp"
	"time"
)

// Timeouts are the timeouts of one client, for Client.SetTimeouts. In each field, zero means the
// setting of the Frames, and a negative value means no timeout.
type Timeouts struct {
	Idle       time.Duration // instead of Frames.IdleTimeout
	Read       time.Duration // instead of Frames.ReadTimeout
	Frame      time.Duration // instead of Frames.FrameTimeout
	FirstFrame time.Duration // instead of Frames.FirstFrameTimeout
	Write      time.Duration // instead of Frames.WriteTimeout
}

// clientTimeouts are the timeouts that hold for a client. Zero means no timeout.
type clientTimeouts struct {
	Timeouts
	lastWrite time.Duration // instead of Write for a client that has ended; never zero
}

// defaultTimeouts hold where a Frames sets nothing.
var defaultTimeouts = clientTimeouts{Timeouts{Write: defaultWriteTimeout}, flushTimeout}

// over returns t with the settings of base where t has none.
func (t Timeouts) over(base *clientTimeouts) clientTimeouts {
	all := clientTimeouts{
		Timeouts: Timeouts{
			Idle:       max(cmp.Or(t.Idle, base.Idle), 0),
			Read:       max(cmp.Or(t.Read, base.Read), 0),
			Frame:      max(cmp.Or(t.Frame, base.Frame), 0),
			FirstFrame: max(cmp.Or(t.FirstFrame, base.FirstFrame), 0),
			Write:      max(cmp.Or(t.Write, base.Write), 0),
		},
		lastWrite: base.lastWrite,
	}
	switch {
	case t.Write > 0:
		all.lastWrite = t.Write
	case t.Write < 0:
		all.lastWrite = flushTimeout
	}
	return all
}

// SetTimeouts changes the timeouts of this client, for example from short ones before its login to
// long ones. Each call replaces the one before it: SetTimeouts(Timeouts{}) returns to the settings
// of the Frames.
//
// The new timeouts hold at once. They count from where they count otherwise, such as the last byte:
// a client that has been silent for longer than a new Idle ends now. Where there was
// no timeout before, a new Read counts from the last byte in either direction, and a new Write
// from now.
//
// SetTimeouts may be called from any function of the Frames and from any other goroutine. For a
// client that has ended, only Write matters, as long as output is pending. A client for which
// SetTimeouts is never called needs no memory for it.
func (c *Client) SetTimeouts(t Timeouts) {
	c.mu.Lock()
	old := c.timeouts()
	own := t.over(&c.frames.timeouts)
	if old.Read == 0 && own.Read > 0 {
		c.flags.set(renewed) // lastRead was not kept
	}
	c.endStateLocked().timeouts.Store(&own) // after the flag: the serving goroutine reads both
	isBusy := c.sending.has(busy)
	c.mu.Unlock()
	c.checkStall()
	if !isBusy { // otherwise the timer is set after the batch
		c.conn.Wake()
	}
}

// timeouts returns the timeouts of the client. They must not be changed.
func (c *Client) timeouts() *clientTimeouts {
	if e := c.endState.Load(); e != nil {
		if own := e.timeouts.Load(); own != nil {
			return own
		}
	}
	return &c.frames.timeouts
}
