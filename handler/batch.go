package handler

import (
	"errors"

	"wireline/lib/frame"
)

// A batch looks at the clock after firstLook frames of one client, after twice as many
// then, and so on. The step is bounded, for the next frames may take longer.
const (
	firstLook = 16
	maxStep   = 64
)

// outcome is how a batch has ended.
type outcome int

const (
	drained outcome = iota // no whole frame is left
	early                  // it stopped early: whole frames may be left
	over                   // the client has ended
)

// serveBatch serves the whole frames that are there, and writes their replies at once.
// It stops early at the time until, if that is not zero.
func (c *Client) serveBatch(until int64) outcome {
	if c.in == nil {
		return drained
	}
	c.restartFrame() // before what was read counts as activity
	began := c.frameBegan
	b, ok, err := c.in.Next(c.codec().Codec, c.input.has(eof))
	if ok || err != nil {
		began = 0
		c.beginBatch()
		out := c.serveFrames(b, ok, err, until)
		c.endBatch()
		c.touch()
		if out != drained {
			return out
		}
	} else {
		c.touch()
	}
	c.noteFrame(began)
	return drained
}

// serveFrames serves the frame b, if ok says that there is one, and those after it.
// err is what the codec says of what comes then.
func (c *Client) serveFrames(b []byte, ok bool, err error, until int64) outcome {
	look := firstLook
	for n := 1; ; n++ {
		switch {
		case ok:
			c.framesIn++
			if err := c.serveFrame(b); err != nil {
				c.accepts(err)
			}
		case err == nil:
			return c.endFrames(drained)
		case !c.skip(err):
			c.endInput(ReasonFrameError, err)
			return over
		}
		if c.stopping() || c.flags.has(paused) {
			return c.endFrames(early)
		}
		if n >= look && c.in.Len() > 0 {
			if until != 0 && c.conn.Now() > until {
				return c.endFrames(early)
			}
			look += min(look, maxStep)
		}
		b, ok, err = c.in.Next(c.codec().Codec, c.input.has(eof))
	}
}

// endFrames is the end of a batch. In a drain it is the client's end too, unless
// something is still to be answered that came before its own.
func (c *Client) endFrames(out outcome) outcome {
	if c.flags.has(draining) && (!c.input.has(eof) || c.in.Len() > 0) {
		c.end(ByServer, ReasonDrain, nil)
	}
	if c.ended() {
		return over
	}
	return out
}

// skip passes over a frame that is too long, if that is what the handler wants
// and the codec can, and reports whether it does.
func (c *Client) skip(err error) bool {
	if c.frames.TooLong != TooLongDiscard || !errors.Is(err, frame.ErrTooLong) || !c.in.Discard(c.codec().Codec) {
		return false
	}
	if c.frames.OnError != nil {
		c.frames.OnError(c, err)
	}
	return true
}

func (c *Client) serveFrame(b []byte) error {
	if serve := c.frames.OnFrame; serve != nil {
		return serve(c, b)
	}
	return nil
}

// accepts ends the client if the handler's error says so, and reports whether it
// does not.
func (c *Client) accepts(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrSlowReader) && c.frames.WhenSlow == SlowDrop:
		return true // a reply was dropped, as was asked for
	case errors.Is(err, ErrQuit):
		c.end(ByServer, ReasonClosed, nil)
	default:
		c.end(ByServer, ReasonHandlerError, err)
	}
	return false
}

// endInput ends the client because of what it sent or did not send, after the
// handler's last words, which endBatch sends.
func (c *Client) endInput(reason Reason, err error) {
	if c.frames.OnError != nil {
		c.frames.OnError(c, err)
	}
	c.end(ByServer, reason, err)
}
