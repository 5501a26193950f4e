package handler

// Pause stops reading from the client, so that the application can slow down the
// sender. No further frame is served until Resume; the current one is finished. Input
// that has already arrived is kept. Calls do not nest: one Resume ends any number of
// calls of Pause.
//
// During the pause, the read timeouts do not run: Resume restarts IdleTimeout and
// ReadTimeout, and FrameTimeout if a frame has begun. A FIN or RST of the client is only noticed after
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

// restartAfterPause restarts the timeout of a partial frame after a pause.
func (c *Client) restartAfterPause() {
	if c.flags.has(resumed) {
		c.flags.clear(resumed)
		c.restartSilence(c.lastActivity.Load())
		if c.frameBegan != 0 {
			c.frameBegan = c.lastActivity.Load()
		}
	}
}
