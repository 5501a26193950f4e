package handler

import "wireline/lib/frame"

// Pause stops reading from the client: back-pressure from the application. No
// further frame is begun until Resume; the one in progress is finished, and
// what has arrived stays. A client is not cut for being silent meanwhile: Resume has
// IdleTimeout, and FrameTimeout of a frame that has begun, run afresh. Its FIN or RST
// is seen after Resume, too. A drain ends a paused client without
// another frame. The client of a plain handler reads for itself: there it does
// nothing.
func (c *Client) Pause() { c.paused.Store(true) }

// Resume goes on reading after Pause.
func (c *Client) Resume() {
	if !c.paused.Load() {
		return
	}
	// Before the pause ends: a time-out may be looked at right after that.
	c.wire.touch()
	c.resumed.Store(true)
	if c.paused.CompareAndSwap(true, false) {
		c.wire.resume()
	}
}

// restartFrame has the time of a frame that has begun run afresh, if there was a pause.
func (c *Client) restartFrame() {
	if c.resumed.Load() {
		c.resumed.Store(false)
		if c.partial != 0 {
			c.partial = c.wire.last()
		}
	}
}

// SetCodec changes the codec of the client from its next frame on, for both
// directions: SMTP's DATA, or the data block after memcached's set. What has
// arrived already is split by the new one; nothing is lost. It may be called
// from Serve, OnOpen and OnError only. Nil is the handler's own codec.
func (c *Client) SetCodec(codec frame.Codec) {
	if c.frames == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = nil
	if codec != nil {
		c.changed = newClientCodec(codec)
	}
}

// codec is for who serves the client, or has its mu.
func (c *Client) codec() *clientCodec {
	if c.changed != nil {
		return c.changed
	}
	return c.frames.own
}

// clientCodec is a codec, and what is asked about it for each frame.
type clientCodec struct {
	frame.Codec

	// quick tells that it encodes a small payload about as fast as that is copied,
	// so that it may do so under the client's mu.
	quick bool
}

func newClientCodec(codec frame.Codec) *clientCodec {
	quick := false
	switch codec.(type) { // one that has one of these embedded is another one
	case frame.Line, frame.Delimiter, frame.Fixed, frame.Length, frame.Netstring, frame.JSONLines:
		quick = true
	}
	return &clientCodec{codec, quick}
}
