package handler

import (
	"errors"
	"os"
	"sync"

	"wireline/lib/frame"
)

// pooledSize is the size of the smallest buffer in buffers: so much is read at once.
const pooledSize = 16 << 10

// buffers holds the frame.Buffers of clients that have nothing to split.
var buffers = sync.Pool{New: func() any { return frame.NewBuffer(pooledSize) }}

// A turn looks at the clock after so many frames of one client first, after twice
// as many then, and so on. The step is bounded, for the next frames may take longer.
const (
	firstLook = 16
	maxStep   = 64
)

// verdict is what a turn has come to.
type verdict int

const (
	drained verdict = iota // no whole frame is left
	early                  // it stopped early: whole frames may be left
	over                   // the client has an end
)

// callOnOpen calls OnOpen, and reports whether to go on with the client.
func (c *Client) callOnOpen(inline bool) bool {
	ok := true
	if c.frames.OnOpen != nil {
		c.beginBatch(inline)
		ok = c.goesOn(c.frames.OnOpen(c))
		c.endTurn()
	}
	c.opened.Store(ok)
	return ok
}

// turn serves the whole frames that are there, and writes their replies at once.
// It stops early at the time until, if that is not zero.
func (c *Client) turn(eof, inline bool, until int64) verdict {
	if c.in == nil {
		return drained
	}
	c.restartFrame() // before what was read touches the wire
	began := c.partial
	b, ok, err := c.in.Next(c.codec().Codec, eof)
	if ok || err != nil {
		began = 0
		c.beginBatch(inline)
		v := c.serveAll(b, ok, err, eof, until)
		c.endTurn()
		if v != drained {
			return v
		}
	} else {
		c.wire.touch()
	}
	c.keep(began)
	return drained
}

// serveAll serves the frame b, if ok says that there is one, and those after it.
// err is what the codec says of what comes then.
func (c *Client) serveAll(b []byte, ok bool, err error, eof bool, until int64) verdict {
	look := firstLook
	for n := 1; ; n++ {
		switch {
		case ok:
			c.framesIn++
			if err := c.serveFrame(b); err != nil {
				c.goesOn(err)
			}
		case err == nil:
			return c.endOfTurn(eof, drained)
		case !c.skip(err):
			c.endInput(FrameError, err)
			return over
		}
		if c.stopping() || c.paused.Load() {
			return c.endOfTurn(eof, early)
		}
		if n >= look && c.in.Len() > 0 {
			if until != 0 && c.wire.now() > until {
				return c.endOfTurn(eof, early)
			}
			look += min(look, maxStep)
		}
		b, ok, err = c.in.Next(c.codec().Codec, eof)
	}
}

// endOfTurn is the end of a turn. In a drain it is the client's end too, unless
// something is still to be answered that came before its own.
func (c *Client) endOfTurn(eof bool, v verdict) verdict {
	if c.draining.Load() && (!eof || c.in.Len() > 0) {
		c.end(ByServer, Drain, nil)
	}
	if c.ended() {
		return over
	}
	return v
}

// skip passes over a frame that is too long, if that is what the handler wants
// and the codec can, and reports whether it does.
func (c *Client) skip(err error) bool {
	if c.frames.TooLong != Discard || !errors.Is(err, frame.ErrTooLong) || !c.in.Discard(c.codec().Codec) {
		return false
	}
	if c.frames.OnError != nil {
		c.frames.OnError(c, err)
	}
	return true
}

func (c *Client) serveFrame(b []byte) error {
	if serve := c.frames.Serve; serve != nil {
		return serve(c, b)
	}
	return nil
}

// endTurn writes what was gathered. An error of that has ended the client.
func (c *Client) endTurn() {
	c.wire.endBatch(c.bytesIn, c.framesIn)
	c.bytesIn, c.framesIn = 0, 0
	c.wire.touch()
}

// keep notes since when a part of a frame is waiting.
func (c *Client) keep(began int64) {
	switch {
	case !c.holds():
		c.partial = 0
	case began == 0:
		c.partial = c.wire.last()
	default:
		c.partial = began
	}
}

// holds reports whether the buffer is needed while nothing is read: a part of a
// frame is in it, or of one that is thrown away.
func (c *Client) holds() bool {
	return c.in != nil && (c.in.Len() > 0 || c.in.Discarding())
}

// goesOn ends the client if the handler's error says so, and reports whether it
// does not.
func (c *Client) goesOn(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrSlowReader) && c.frames.WhenSlow == Drop:
		return true // a reply was dropped, as was asked for
	case errors.Is(err, ErrClose):
		c.end(ByServer, Closed, nil)
	default:
		c.end(ByServer, HandlerError, err)
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

// nextDue returns when the first time-out for reading ends, by the wire's clock;
// zero if none runs.
func (c *Client) nextDue() (due int64) {
	c.restartFrame()
	if idle := c.frames.IdleTimeout; idle > 0 {
		due = c.wire.last() + int64(idle)
	}
	if limit := c.frames.FrameTimeout; limit > 0 && c.partial != 0 {
		if end := c.partial + int64(limit); due == 0 || end < due {
			due = end
		}
	}
	return due
}

// checkTime ends the client, after the handler's last words, if a time-out for
// reading is over. It reports false then.
func (c *Client) checkTime(inline bool) bool {
	due := c.nextDue()
	if due == 0 {
		return true
	}
	t := c.wire.now()
	if t < due {
		return true
	}
	why := IdleTimeout
	if limit := c.frames.FrameTimeout; limit > 0 && c.partial != 0 && t >= c.partial+int64(limit) {
		why = FrameTimeout
	}
	c.beginBatch(inline)
	c.endInput(why, os.ErrDeadlineExceeded)
	c.endTurn()
	return false
}

func (c *Client) buffer() *frame.Buffer {
	if c.in == nil {
		c.in = buffers.Get().(*frame.Buffer)
	}
	return c.in
}

// freeBuffer gives the buffer back. What is in it is lost.
func (c *Client) freeBuffer() {
	if c.in != nil && c.in.Cap() <= maxPooled {
		c.in.Reset()
		buffers.Put(c.in)
	}
	c.in = nil
}
