package handler

import (
	"wireline/internal/closing"
	"wireline/internal/eventloop"
)

// finish closes a client that has ended: what was written is sent, then the connection
// is closed as the end demands. It reports whether it is to be called again when others
// had their turn; otherwise an event does that.
func (c *Client) finish(w *eventloop.Worker) (more bool) {
	switch {
	case c.phase == closed: // OnClose has panicked
		return false
	case c.phase < closingPhase:
		c.phase = closingPhase
		c.shutOutput()
	}
	if c.isTakenOver() {
		c.leave(w)
		return false
	}
	m := &c.tail().closing
	if c.input.has(unread) {
		m.Arrived()
	}
	for reads := 0; ; {
		now := c.conn.Now()
		if c.flags.has(draining) {
			m.Shorten(now)
		}
		switch m.Next(now) {
		case closing.WaitOutput:
			if !c.awaitOutput() {
				c.checkStall() // there is a bound now in any case
				return false
			}
			how, bound := c.howToClose()
			m.Flushed(!c.hasFailed(), how, bound)
		case closing.SendFIN:
			m.FINSent(c.conn.CloseWrite(), c.holds(), now)
		case closing.Look:
			n, over := c.discard(w, c.conn.Look)
			m.Input(n, !c.input.has(unread), over, now)
		case closing.Discard:
			if reads == readsPerTurn {
				return true
			}
			reads++
			n, over := c.discard(w, c.conn.Read)
			m.Input(n, !c.input.has(unread), over, now)
		case closing.Ask:
			n := c.conn.Discard(m.Room())
			m.Acknowledged(n, c.conn.Acknowledged(), now)
		case closing.WaitInput, closing.WaitTimer:
			c.dropBuffer(w)
			c.arm(m.Timer())
			return false
		case closing.CloseReset:
			c.close(w, true)
			return false
		case closing.CloseFIN:
			c.close(w, false)
			return false
		}
	}
}

func (c *Client) isTakenOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sending.has(takenOver)
}

// hasFailed reports whether something that was written could not be sent.
func (c *Client) hasFailed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sending.has(failed)
}

// discard reads once, by read, and throws that away. over tells that nothing more comes.
func (c *Client) discard(w *eventloop.Worker, read reader) (n int, over bool) {
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
	c.count.bytesIn += int64(n)
	c.mu.Unlock()
	return n, err != nil
}

// close closes the connection, with a RST if reset is set.
func (c *Client) close(w *eventloop.Worker, reset bool) {
	c.mu.Lock()
	if c.frames.OnClose != nil {
		c.tailLocked().local = c.localAddrLocked() // it may ask
	}
	c.failLocked(ErrClosed)
	c.sending.set(gone)
	c.mu.Unlock()
	_, lingers := c.accepted.CloseMode().Linger()
	switch {
	case reset:
		c.conn.SetLinger(0)
	case lingers: // with a time, close(2) would hold up the loop
		c.conn.SetLinger(-1)
	}
	c.conn.Close()
	c.leave(w)
}

// leave is the end of a client whose connection is closed or has a new owner.
func (c *Client) leave(w *eventloop.Worker) {
	c.phase = closed
	c.dropBuffer(w)
	c.mu.Lock()
	c.releaseLocked()
	c.mu.Unlock()
	if !c.isTakenOver() {
		defer c.accepted.Done()
	}
	defer c.frames.clients.remove((*clientMember)(c))
	if c.flags.has(visible) && c.frames.OnClose != nil {
		c.frames.OnClose(c)
	}
}
