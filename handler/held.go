package handler

// clientHeld is what a client holds of the server's Memory.
type clientHeld struct {
	Held
	input, output int64 // the parts of it
}

// countInput counts what the client keeps of its input until the next event: a partial frame, a
// part of a TLS record, what was read ahead of a handshake, or frames that are not served yet. The
// serving goroutine calls it.
func (c *Client) countInput() {
	n := 0
	if c.in != nil {
		n = c.in.Cap()
	}
	if t := c.tls(); t != nil {
		n += t.Buffered()
	}
	if u := c.upgrade(); u != nil {
		n += u.buffered()
	}
	if n == 0 && !c.input.has(counted) {
		return // as a rule
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.heldLocked(); h != nil {
		h.input = int64(n)
		c.holdLocked(h)
	}
	c.input.clear(counted)
	if n > 0 {
		c.input.set(counted)
	}
}

// countOutputLocked counts the output that waits for the client.
func (c *Client) countOutputLocked() {
	n := 0
	if c.out != nil {
		c.out.Fit() // a buffer of the pool may be much larger than what waits
		n = c.out.Cap()
	}
	if t := c.tls(); t != nil {
		n += t.QueueCap()
	}
	if n == 0 && !c.sending.has(countedOut) {
		return
	}
	if h := c.heldLocked(); h != nil {
		h.output = int64(n)
		c.holdLocked(h)
	}
	c.sending.clear(countedOut)
	if n > 0 {
		c.sending.set(countedOut)
	}
}

// heldLocked returns what the client holds of the server's Memory; nil if that has no limit.
func (c *Client) heldLocked() *clientHeld {
	if m := c.accepted.Memory(); m == nil || m.Limit <= 0 {
		return nil
	}
	e := c.endStateLocked()
	if e.held == nil {
		e.held = &clientHeld{Held: Held{Evict: c.evict}}
	}
	return e.held
}

func (c *Client) holdLocked(h *clientHeld) {
	if c.sending.has(gone) { // a Write that has waited may come here after the close
		h.input, h.output = 0, 0
	}
	c.accepted.Memory().Hold(&h.Held, h.input+h.output)
}

// holdNothing takes a client whose connection is closed, or has a new owner, out of the Memory.
func (c *Client) holdNothing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.endState.Load(); e != nil && e.held != nil {
		e.held.input, e.held.output = 0, 0
		c.holdLocked(e.held)
	}
}

// evict ends the client because all clients together hold too much, and this one most. What is
// pending for it is thrown away.
func (c *Client) evict(err error) {
	c.end(ByServer, ReasonMemory, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abortLocked()
	c.releaseLocked()
}

// mayGrow reports whether the client's buffer may grow. If it is large and the Memory is overrun,
// it may not, and the client is ended. The clients that hold most are ended too, but a loop may
// serve many others before these, and all of them could grow meanwhile. For the serving goroutine.
func (c *Client) mayGrow() bool {
	if c.in == nil || !c.in.Full() || c.in.Cap() < loopBuffer {
		return true
	}
	m := c.accepted.Memory()
	if !m.Overrun() {
		return true
	}
	c.abort(ByServer, ReasonMemory, m.errOver(int64(c.in.Cap())))
	return false
}

// mayQueueLocked is mayGrow for the output.
func (c *Client) mayQueueLocked(o *output) bool {
	if !c.sending.has(blocked) || o.Size() < loopBuffer {
		return true
	}
	m := c.accepted.Memory()
	if !m.Overrun() {
		return true
	}
	c.end(ByServer, ReasonMemory, m.errOver(int64(o.Cap())))
	c.abortLocked()
	return false
}
