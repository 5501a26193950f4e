package handler

import (
	"errors"

	"wireline/lib/frame"
)

// A batch checks the clock after firstClockCheck frames of one client. The interval
// doubles after each check, up to maxClockStep frames: later frames may take longer.
const (
	firstClockCheck = 16
	maxClockStep    = 64
)

// partCounts is how many bytes of a frame that is not whole count at once.
const partCounts = 64 << 10

// outcome says how a batch ended.
type outcome int

const (
	batchDrained outcome = iota // no whole frame is left
	batchStopped                // it stopped early; whole frames may be left
	batchEnded                  // the client has ended
)

// serveBatch serves the whole frames in the buffer and then sends their replies. If
// until is not zero, it stops early at that time.
func (c *Client) serveBatch(until int64) outcome {
	if c.in == nil {
		return batchDrained
	}
	c.restartAfterPause() // before touch changes lastActivity
	began := c.frameBegan
	b, ok, err := c.in.Next(c.codec().Codec, c.whole())
	if ok || err != nil {
		began, c.frameBegan = 0, 0 // the frame that had begun is whole
		c.beginBatch()
		out := c.serveFrames(b, ok, err, until)
		c.payFrames(c.framesIn)
		c.endBatch()
		c.touch()
		c.noteRead()
		if out != batchDrained {
			return out
		}
	} else {
		c.countPart()
		c.touch()
		c.noteRead()
	}
	c.noteFrameBegan(began)
	return batchDrained
}

// countPart adds what was read of a frame that is not whole to the counts, when that is much: a
// large frame is seen while it arrives.
func (c *Client) countPart() {
	if c.bytesIn < partCounts {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countInLocked()
}

// countInLocked adds what was read, and the frames in it, to the counts. The caller holds mu.
func (c *Client) countInLocked() {
	c.count.BytesIn += c.bytesIn
	c.count.FramesIn += c.framesIn
	c.bytesIn, c.framesIn = 0, 0
}

// whole reports whether no more input follows, so that what is left in the buffer may be a frame
// without an end. Without the close_notify of TLS anybody could have cut it off.
func (c *Client) whole() bool {
	return c.input.has(eof) && !c.input.has(truncated) && !c.frames.WholeFrames
}

// serveFrames serves frames, beginning with the result b, ok, err of the first call of
// Next.
func (c *Client) serveFrames(b []byte, ok bool, err error, until int64) outcome {
	budget := c.frameBudget()
	nextCheck := min(firstClockCheck, budget)
	for n := 1; ; n++ {
		switch {
		case ok:
			c.framesIn++
			if err := c.serveFrame(b); err != nil {
				c.continueAfter(err)
			}
		case err == nil:
			return c.endFrames(batchDrained)
		case !c.skip(err):
			c.endInput(ReasonFrameError, err)
			return batchEnded
		}
		if c.flags.has(upgrading) {
			c.dropPlaintext()
			return c.endFrames(batchStopped)
		}
		if c.stopping() || c.flags.has(paused|crowded) {
			return c.endFrames(batchStopped)
		}
		if n >= nextCheck && c.in.Len() > 0 {
			if n >= budget || until != 0 && c.conn.Now() > until {
				return c.endFrames(batchStopped)
			}
			nextCheck = min(nextCheck+min(nextCheck, maxClockStep), budget)
		}
		b, ok, err = c.in.Next(c.codec().Codec, c.whole())
	}
}

// endFrames ends serveFrames with out. In a drain, or after MaxLifetime, it also ends the client,
// unless the client is held, or it has sent its FIN and everything before it was served: then the
// client has ended by itself.
func (c *Client) endFrames(out outcome) outcome {
	if c.flags.has(leaving) && (!c.input.has(eof) || c.in.Len() > 0) {
		c.endLeaving()
	}
	if c.ended() {
		return batchEnded
	}
	return out
}

// skip discards a frame that is too long, if TooLong says so and the codec can. It
// reports whether it did.
func (c *Client) skip(err error) bool {
	if c.frames.TooLong != TooLongDiscard || !errors.Is(err, frame.ErrTooLong) || !c.in.Discard(c.codec().Codec) {
		return false
	}
	c.payFrames(1)
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

// continueAfter reports whether the client goes on after a frame function or OnOpen has
// returned err. If not, it ends the client.
func (c *Client) continueAfter(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrSlowReader) && c.frames.WhenSlow == SlowDrop:
		return true // the message was dropped, as WhenSlow demands
	case errors.Is(err, ErrQuit):
		c.end(ByServer, ReasonClosed, nil)
	default:
		c.end(ByServer, ReasonHandlerError, err)
	}
	return false
}

// endInput ends the client because of what it has sent, or has not sent in time. It
// calls OnError first; endBatch sends what OnError writes.
func (c *Client) endInput(reason Reason, err error) {
	if c.frames.OnError != nil {
		c.frames.OnError(c, err)
	}
	c.end(ByServer, reason, err)
}
