package handler

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"wireline/internal/drain"
	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/internal/transport"
)

const (
	// readsPerCall bounds how often one call of Ready reads from a client, so that a
	// client that never stops sending does not delay the others.
	readsPerCall = 16

	// timeSlice is how long the frames of one client are served while other clients
	// wait.
	timeSlice = time.Millisecond

	// drainReadTime bounds how long a drain still reads frames that have arrived.
	drainReadTime = 100 * time.Millisecond
)

// pollerHandler is the eventloop.Handler of a Client.
type pollerHandler Client

// Ready implements eventloop.Handler. A panic ends the client and asks for another
// call, which closes the connection. OnClose may panic in that call; then no further
// call follows.
func (p *pollerHandler) Ready(w *eventloop.Worker, ev eventloop.Event) (again bool) {
	c, returned := (*Client)(p), false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			c.accepted.Panicked(recover())
			c.end(ByServer, ReasonPanic, nil)
			again = true
		}
	}()
	again = c.step(w, ev)
	returned = true
	return again
}

// Writable implements eventloop.Handler.
func (p *pollerHandler) Writable() { (*Client)(p).resumeOutput() }

// Slow implements eventloop.Handler.
func (p *pollerHandler) Slow() {
	p.flags.clear(inLoop) // for the next batches
	(*Client)(p).stopBatching()
}

// Broken implements eventloop.BreakHandler.
func (p *pollerHandler) Broken() {
	if p.flags.has(observed) {
		(*Client)(p).checkBroken()
	}
}

// Expired implements eventloop.Handler.
func (p *pollerHandler) Expired() {
	c := (*Client)(p)
	c.timerDue.Store(0)
	c.checkLifetime()
	c.checkStall()
	c.conn.Wake()
}

// step handles ev. It reports whether it stopped early, so that others get their turn,
// and has to be called again.
func (c *Client) step(w *eventloop.Worker, ev eventloop.Event) (again bool) {
	if w.InLoop() != c.flags.has(inLoop) {
		if w.InLoop() {
			c.flags.set(inLoop)
		} else {
			c.flags.clear(inLoop)
		}
	}
	if t := c.tls(); t != nil {
		ev = t.Ready(ev)
	}
	if ev&eventloop.In != 0 {
		c.input.set(unread)
	}
	if ev&eventloop.Hup != 0 {
		c.input.set(unread | hangup)
		if c.flags.has(observed) || c.input.has(slowed) {
			c.checkHangup()
		}
	}
	if c.phase == phaseOpening {
		c.phase = phaseServing
		c.open()
	}
	if c.phase == phaseHandshaking && !c.continueHandshake(w) {
		return false
	}
	if c.phase == phaseServing {
		if again, alive := c.serveEvent(w, ev&eventloop.Woken != 0); alive {
			c.settle(w)
			return again
		}
	}
	return c.finish(w)
}

// open calls OnOpen. If OnOpen fails, the client never becomes visible to others.
func (c *Client) open() {
	ok := true
	if c.frames.OnOpen != nil {
		c.beginBatch()
		ok = c.continueAfter(c.frames.OnOpen(c))
		c.endBatch()
		c.startTimeouts()
	}
	if ok {
		c.flags.set(visible)
	}
}

// serveEvent calls serve. isWoken means that a timeout may have expired. That is seen when what has
// arrived is served, perhaps in a later call.
func (c *Client) serveEvent(w *eventloop.Worker, isWoken bool) (again, alive bool) {
	if isWoken {
		c.input.set(woken)
	}
	again, alive = c.serve(w)
	if !again {
		c.input.clear(woken | looked)
	}
	return again, alive
}

// serve reads and serves input until there is none. again reports that it stopped early
// and has to be called again; alive is false if the client has ended.
func (c *Client) serve(w *eventloop.Worker) (again, alive bool) {
	until := int64(0) // no time limit if no other client waits
	if c.flags.has(inLoop) {
		until = w.Now() + int64(timeSlice)
	}
	probed, checked := c.input.has(looked), false
	lookedBefore := probed // what that has found is served; then it is time to decide
	stopped := int64(0)    // if the process was stopped: its last activity before that, by the clock
	for reads := 0; ; {
		switch {
		case c.ended():
			return false, false
		case c.input.has(unsent) && !c.flags.has(retired):
			if !c.awaitOutput() {
				c.suspendFrame()
				return false, !c.endUnstarted() // wait until it is sent or fails
			}
			c.input.clear(unsent)
			c.restartTimeouts()
		case c.flags.has(leaving) && (c.input.has(finishing) || c.flags.has(paused|holding)):
			if c.awaitRelease() {
				return false, true
			}
			c.endReleased()
		case c.flags.has(retired) && c.input.has(unsent): // finish sends it
			c.endLeaving()
		case c.flags.has(paused | crowded):
			c.input.set(idled)
			return false, true
		case c.input.has(idled):
			c.input.clear(idled)
		case c.flags.has(upgrading):
			c.beginHandshake(w)
			return true, true
		case c.limited():
			return false, !c.endUnstarted()
		case c.input.has(buffered):
			switch c.serveBatch(until) {
			case batchDrained:
				c.input.clear(buffered)
			case batchEnded:
				return false, false
			case batchStopped:
				if until != 0 && c.conn.Now() > until {
					return true, true
				}
			}
		case c.input.has(eof):
			if c.awaitRelease() {
				return false, true
			}
			c.endOfInput()
			return false, false
		case c.flags.has(leaving) && reads == readsPerCall:
			return true, true
		case c.flags.has(draining):
			reads++
			if c.drainRead(w) {
				return false, true
			}
		case c.flags.has(retired):
			reads++
			if c.retire(w) {
				return false, true
			}
		case probed && !checked && (lookedBefore || !c.input.has(unread) || reads == readsPerCall):
			checked = true // once: OnIdle may be called, and what it writes has to be sent
			if stopped != 0 && c.lastActivity.Load() > stopped && !c.input.has(extended) {
				c.restartTimeouts()
				c.restartFrame() // its rest may follow as fast as it is read
				c.input.set(extended)
			}
			if c.endTimedOut() {
				return false, false
			}
		case c.input.has(woken) && !probed && c.expiredTimeout() != "":
			// If the process was stopped (SIGSTOP) for a while, input may have
			// arrived in time. Read what there is before the timeout ends the client.
			probed = true
			c.input.set(looked)
			if c.conn.Now()-c.nextDue() > int64(eventloop.LateTimer) {
				stopped = c.lastActivity.Load()
			}
			c.receive(w, c.transport().Look)
		case !c.input.has(unread):
			return false, true
		case reads == readsPerCall:
			return true, true
		case !c.mayGrow():
			return false, false
		default:
			reads++
			c.receive(w, c.transport().Read)
		}
	}
}

// reader is the Read or Look method of an eventloop.Conn.
type reader = func(p []byte) (n int, drained bool, err error)

// receive calls read once and adds the result to the buffer.
func (c *Client) receive(w *eventloop.Worker, read reader) {
	c.takeBuffer(w)
	n, isDrained, err := read(c.byteBudget(c.in.Space()))
	c.payBytes(n)
	switch {
	case !isDrained: // also after a Look that no event has preceded
		c.input.set(unread)
	case n == 0 || !c.input.has(hangup):
		// After a hangup event no further event comes. So the input stays readable
		// until a read returns nothing: the end of the stream or the error is still to
		// be read.
		c.input.clear(unread)
	}
	switch {
	case n > 0:
		c.in.Filled(n)
		c.bytesIn += int64(n)
		c.input.set(buffered)
	case err == io.EOF:
		c.input.set(eof | buffered)
	case err == transport.ErrTruncated:
		c.input.set(eof | truncated | buffered)
	case err != nil:
		c.readFailed(err)
	default:
		c.noteRecord()
	}
	c.watchTLS()
}

// readFailed ends the client because a read has failed with err. If the connection is broken,
// nothing can be written any more.
func (c *Client) readFailed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isBreak(err) {
		c.failLocked(fmt.Errorf("%w: %w", ErrClosed, err))
	}
	c.endIO(err)
}

// isBreak reports whether err, of a read, means that the connection is broken.
func isBreak(err error) bool {
	var errno syscall.Errno
	return netconn.IsReset(err) || errors.As(err, &errno)
}

// endOfInput ends a client that has closed its side.
func (c *Client) endOfInput() {
	isWithin := c.holdsInput() || c.holdsRecord()
	switch {
	case c.input.has(truncated) && isWithin:
		c.end(ByClient, ReasonIOError, transport.ErrTruncated)
	case c.frames.WholeFrames && isWithin: // as a codec that does not take the rest for a frame
		c.endInput(ReasonFrameError, io.ErrUnexpectedEOF)
	default:
		c.end(ByClient, ReasonFIN, nil)
	}
}

// noteRecord notes that a part of a TLS record has arrived, if one has: a frame has begun, or
// goes on. The part may also have arrived with the end of the handshake.
func (c *Client) noteRecord() {
	t := c.tls()
	if t == nil {
		return
	}
	if t.Arrived() {
		c.touch()
		c.noteRead()
	}
	c.noteFrameBegan(c.frameBegan)
}

// drainRead is the last step of reading in a drain: it ends an idle client, unless a
// frame has arrived that was not read yet. It reports whether the client has come late, and
// may still send its first frame.
func (c *Client) drainRead(w *eventloop.Worker) (waits bool) {
	now := c.conn.Now()
	left := c.firstInputLeft()
	end := c.getEndState()
	if end.lastReadEnds == 0 {
		end.lastReadEnds = now + max(int64(drainReadTime), left)
	}
	if now <= end.lastReadEnds {
		c.receive(w, c.transport().Look)
	}
	if c.input.has(buffered) || c.flags.has(holding) { // Hold may have been called just now
		return false
	}
	if left > 0 {
		c.arm(now + left)
		return true
	}
	c.endLeaving()
	return false
}

// firstInputLeft returns for how long, in nanoseconds, a drain still waits for the first frame of
// a client that has come late.
func (c *Client) firstInputLeft() int64 {
	until := drain.FirstInput(c.accepted)
	c.mu.Lock()
	defer c.mu.Unlock()
	if until.IsZero() || c.count.FramesIn > 0 {
		return 0
	}
	return int64(time.Until(until))
}

// settle prepares a live client to wait for its next event: it gives back the buffer,
// counts what is kept, and arms the timeouts.
func (c *Client) settle(w *eventloop.Worker) {
	c.leaveBuffer(w)
	c.countInput()
	if !c.input.has(idled | unsent | slowed) { // otherwise nothing is read, so no read timeout runs
		c.arm(c.nextDue())
	}
}
