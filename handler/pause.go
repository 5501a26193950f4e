package handler

// Pause stops reading from the client: back-pressure from the application. No
// further frame is begun until Resume; the one in progress is finished, and
// what has arrived stays. A client is not cut for being silent meanwhile: Resume has
// IdleTimeout, and FrameTimeout of a frame that has begun, run afresh. Its FIN or RST
// is seen after Resume, too. A drain ends a paused client without
// another frame.
func (c *Client) Pause() { c.flags.set(paused) }

// Resume goes on reading after Pause.
func (c *Client) Resume() {
	if !c.flags.has(paused) {
		return
	}
	// Before the pause ends: a timeout may be looked at right after that.
	c.touch()
	c.flags.set(resumed)
	if c.flags.clear(paused) {
		c.conn.Wake()
	}
}

// restartFrame has the time of a frame that has begun run afresh, if there was a pause.
func (c *Client) restartFrame() {
	if c.flags.has(resumed) {
		c.flags.clear(resumed)
		if c.frameBegan != 0 {
			c.frameBegan = c.lastActivity.Load()
		}
	}
}
