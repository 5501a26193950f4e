package handler

import "wireline/lib/frame"

// SetCodec changes the codec of the client from its next frame on, for both
// directions: SMTP's DATA, or the data block after memcached's set. What has
// arrived already is split by the new one; nothing is lost. It may be called
// from Serve, OnOpen and OnError only. Nil is the handler's own codec.
func (c *Client) SetCodec(codec frame.Codec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.override = nil
	if codec != nil {
		c.override = newClientCodec(codec)
	}
}

// codec is for the serving goroutine, and for whoever holds mu.
func (c *Client) codec() *clientCodec {
	if c.override != nil {
		return c.override
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
