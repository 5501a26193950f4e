package handler

import (
	"io"
	"time"

	"wireline/internal/eventloop"
)

const (
	// readsPerTurn bounds how often a client is read from in one call of Ready, so that
	// one that never stops sending does not hold up the others.
	readsPerTurn = 16

	// timeSlice is how long the frames of one client are served while others wait.
	timeSlice = time.Millisecond

	// lookTime bounds what a drain still reads of a frame that has arrived.
	lookTime = 100 * time.Millisecond
)

// poller is a Client as its poller sees it. It implements eventloop.Handler.
type poller Client

// Ready implements eventloop.Handler. A panic ends the client; the next call finishes it,
// where OnClose may panic too.
func (p *poller) Ready(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	c, returned := (*Client)(p), false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			c.accepted.Panicked(recover())
			c.end(ByServer, ReasonPanic, nil)
			more = true
		}
	}()
	more = c.step(w, ev)
	returned = true
	return more
}

// Writable implements eventloop.Handler.
func (p *poller) Writable() { (*Client)(p).resumeOutput() }

// Slow implements eventloop.Handler.
func (p *poller) Slow() {
	p.flags.clear(inLoop) // for the batches that follow
	(*Client)(p).spread()
}

// Expired implements eventloop.Handler.
func (p *poller) Expired() {
	c := (*Client)(p)
	c.timer.Store(0)
	c.checkStall()
	c.conn.Wake()
}

// step does what ev allows, and reports whether it stopped because others wait.
func (c *Client) step(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	if w.InLoop() != c.flags.has(inLoop) {
		if w.InLoop() {
			c.flags.set(inLoop)
		} else {
			c.flags.clear(inLoop)
		}
	}
	if ev&eventloop.In != 0 {
		c.input.set(unread)
	}
	if ev&eventloop.Hup != 0 {
		c.input.set(unread | hangup)
	}
	if c.phase == opening {
		c.phase = serving
		c.open()
	}
	if c.phase == serving {
		if more, goesOn := c.serve(w, ev&eventloop.Woken != 0); goesOn {
			c.settle(w)
			return more
		}
	}
	return c.finish(w)
}

// open calls OnOpen. A client that it refuses stays invisible to others.
func (c *Client) open() {
	ok := true
	if c.frames.OnOpen != nil {
		c.beginBatch()
		ok = c.accepts(c.frames.OnOpen(c))
		c.endBatch()
		c.touch()
	}
	if ok {
		c.flags.set(visible)
	}
}

// serve reads and serves what there is. It reports whether the client goes on,
// and whether that is to be soon. woken tells that a timeout may have expired.
func (c *Client) serve(w *eventloop.Worker, woken bool) (more, goesOn bool) {
	until := int64(0) // where nobody waits
	if c.flags.has(inLoop) {
		until = w.Now() + int64(timeSlice)
	}
	looked := false
	for reads := 0; ; {
		switch {
		case c.ended():
			return false, false
		case c.input.has(unsent):
			if !c.awaitOutput() {
				return false, true // until all is sent, or fails
			}
			c.input.clear(unsent)
			c.restartTimeouts()
		case c.flags.has(paused):
			if c.flags.has(draining) {
				c.end(ByServer, ReasonDrain, nil)
				return false, false
			}
			c.input.set(idled)
			return false, true
		case c.input.has(idled):
			c.input.clear(idled)
		case c.input.has(buffered):
			switch c.serveBatch(until) {
			case drained:
				c.input.clear(buffered)
			case over:
				return false, false
			case early:
				if until != 0 && c.conn.Now() > until {
					return true, true
				}
			}
		case c.input.has(eof):
			c.end(ByClient, ReasonFIN, nil)
			return false, false
		case c.flags.has(draining):
			c.lastLook(w)
		case woken && c.late() != "":
			// The process may have been stopped while something arrived: a client
			// is late only if there is nothing to be read.
			if looked {
				c.endLate()
				return false, false
			}
			looked = true
			c.receive(w, c.conn.Look)
		case !c.input.has(unread):
			return false, true
		case reads == readsPerTurn:
			return true, true
		default:
			reads++
			c.receive(w, c.conn.Read)
		}
	}
}

// reader is Read or Look of an eventloop.Conn.
type reader = func(p []byte) (n int, drained bool, err error)

// receive reads once, by read.
func (c *Client) receive(w *eventloop.Worker, read reader) {
	c.takeBuffer(w)
	n, isDrained, err := read(c.in.Space())
	// An event of its own has told of the end of the stream, or of an error: it is
	// there to be read, and no event will come again.
	if isDrained && (n == 0 || !c.input.has(hangup)) {
		c.input.clear(unread)
	}
	switch {
	case n > 0:
		c.in.Filled(n)
		c.bytesIn += int64(n)
		c.input.set(buffered)
	case err == io.EOF:
		c.input.set(eof | buffered)
	case err != nil:
		c.endIO(err)
	}
}

// lastLook is what a drain leaves of reading: a client that is idle gets its
// FIN, unless a frame of its has arrived that was not read yet.
func (c *Client) lastLook(w *eventloop.Worker) {
	now := c.conn.Now()
	t := c.tail()
	if t.lookEnds == 0 {
		t.lookEnds = now + int64(lookTime)
	}
	if now <= t.lookEnds {
		c.receive(w, c.conn.Look)
	}
	if !c.input.has(buffered) {
		c.end(ByServer, ReasonDrain, nil)
	}
}

// settle gives back what a client that goes on does not need while nothing happens, and
// sees to the timeouts.
func (c *Client) settle(w *eventloop.Worker) {
	c.leaveBuffer(w)
	if !c.input.has(idled | unsent) { // else nothing is read, so no timeout for reading runs
		c.arm(c.nextDue())
	}
}
