package handler

// Pause stops reading from the client, so that the application can slow down the
// sender. No further frame is served until Resume; the current one is finished. Input
// that has already arrived is kept. Calls do not nest: one Resume ends any number of
// calls of Pause.
//
// During the pause, the read timeouts do not run: Resume restarts IdleTimeout,
// ReadTimeout and FirstFrameTimeout, and FrameTimeout if a frame has begun. A FIN or RST of the client is only noticed after
// Resume. A drain ends a paused client without serving another frame.
func (c *Client) Pause() { c.flags.set(paused) }

// Resume continues reading after Pause. It does nothing if the client is not paused.
func (c *Client) Resume() {
	if !c.flags.has(paused) {
		return
	}
	// Do this first: as soon as the pause ends, a timeout may be checked.
	c.touch()
	c.flags.set(resumed)
	if c.flags.clear(paused) {
		c.conn.Wake()
	}
}

// restartAfterPause restarts the read timeouts after a pause, those that do not run for a client that
// is held after a hold, and a new ReadTimeout.
func (c *Client) restartAfterPause() {
	if !c.flags.has(resumed | relieved | renewed) {
		return
	}
	was := c.flags.And(^(resumed | relieved | renewed))
	at := coarseTime(c.lastActivity.Load())
	c.lastRead = at
	if was&renewed != 0 {
		c.flags.clear(pinged) // in the silence of an earlier ReadTimeout
	}
	if was&(resumed|relieved) != 0 {
		c.opened = at
	}
	if was&resumed != 0 {
		c.restartFrame()
	}
}
