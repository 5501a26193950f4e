package handler

import (
	"wireline/internal/closing"
	"wireline/internal/eventloop"
)

// finish closes a client that has ended: it sends pending output, then closes the
// connection as the close mode and the reason demand. It returns true to be called
// again after others had a turn. Otherwise it is called again at the next event.
func (c *Client) finish(w *eventloop.Worker) (again bool) {
	switch {
	case c.phase == phaseClosed: // OnClose has panicked
		return false
	case c.phase < phaseClosing:
		c.beginEnd()
	}
	if c.isTakenOver() {
		c.leave(w)
		return false
	}
	steps := &c.getEndState().closing
	if c.input.has(unread) {
		steps.Arrived()
	}
	for reads := 0; ; {
		now := c.conn.Now()
		if c.flags.has(draining) {
			steps.Shorten(now)
		}
		switch steps.Next(now) {
		case closing.WaitOutput:
			if !c.awaitOutput() {
				c.checkStall() // a client that has ended always has a write limit
				c.waitForOutput(w)
				return false
			}
			how, bound := c.howToClose()
			// After an error of TLS nothing can be sent but its alert, which is to arrive.
			steps.Flushed(!c.hasFailed() || c.reason() == ReasonTLS, how, bound)
		case closing.SendFIN:
			err := c.transport().CloseWrite()
			if err == nil && !c.finishTLS() {
				c.waitForOutput(w)
				return false
			}
			steps.FINSent(err, c.holdsInput(), now)
		case closing.Look:
			n, ended := c.discard(w, c.transport().Look)
			steps.Input(n, !c.input.has(unread), ended, now)
		case closing.Discard:
			if reads == readsPerCall {
				return true
			}
			reads++
			n, ended := c.discard(w, c.transport().Read)
			steps.Input(n, !c.input.has(unread), ended, now)
		case closing.Ask:
			n := c.transport().Discard(steps.Room())
			steps.Acknowledged(n, c.transport().Acknowledged(), now)
		case closing.WaitInput, closing.WaitTimer:
			c.dropBuffer(w)
			c.countInput()
			c.arm(steps.Timer())
			return false
		case closing.CloseReset:
			c.close(w, true)
			return false
		case closing.CloseFIN:
			if !c.finishTLS() {
				return false
			}
			c.close(w, false)
			return false
		}
	}
}

// waitForOutput gives back the loop's buffer while output is pending, and counts what is kept of the
// input.
func (c *Client) waitForOutput(w *eventloop.Worker) {
	c.leaveBuffer(w)
	c.countInput()
}

// beginEnd begins the closing phase: OnEnd is called, and then nothing more may be written.
func (c *Client) beginEnd() {
	c.phase = phaseClosing
	defer c.shutOutput() // also if OnEnd panics
	if c.flags.has(visible) && c.frames.OnEnd != nil {
		c.frames.OnEnd(c)
	}
}

func (c *Client) isTakenOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sending.has(takenOver)
}

// hasFailed reports whether the output has failed.
func (c *Client) hasFailed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sending.has(failed)
}

// discard calls read once and throws the input away. ended reports that no more input
// follows.
func (c *Client) discard(w *eventloop.Worker, read reader) (n int, ended bool) {
	c.takeBuffer(w)
	c.in.Reset()
	n, isDrained, err := read(c.in.Space())
	switch {
	case !isDrained: // as in receive
		c.input.set(unread)
	case n == 0 || !c.input.has(hangup):
		c.input.clear(unread)
	}
	c.mu.Lock()
	c.count.BytesIn += int64(n)
	c.mu.Unlock()
	return n, err != nil
}

// close closes the connection; if reset is set, with a RST.
func (c *Client) close(w *eventloop.Worker, reset bool) {
	c.mu.Lock()
	if c.frames.OnClose != nil {
		c.endStateLocked().localAddr = c.localAddrLocked() // for OnClose
	}
	c.failLocked(ErrClosed)
	c.sending.set(gone)
	c.mu.Unlock()
	switch {
	case reset:
		c.transport().SetLinger(0)
	case c.accepted.CloseMode().setsLinger(): // with a time, close(2) would hold up the loop
		c.transport().SetLinger(-1)
	}
	c.transport().Close()
	c.leave(w)
}

// leave removes a client whose connection is closed or has a new owner, and calls
// OnClose.
func (c *Client) leave(w *eventloop.Worker) {
	c.phase = phaseClosed
	c.dropBuffer(w)
	c.mu.Lock()
	c.releaseLocked()
	c.mu.Unlock()
	c.holdNothing()
	if !c.isTakenOver() {
		defer c.accepted.Done()
	}
	defer c.frames.clients.remove((*clientMember)(c))
	if c.flags.has(visible) && c.frames.OnClose != nil {
		c.frames.OnClose(c)
	}
}
