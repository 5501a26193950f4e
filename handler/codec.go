package handler

import "wireline/lib/frame"

// SetCodec changes the codec of the client in both directions, from the next frame on:
// for example for the message after DATA in SMTP, or the data block after set in
// memcached. Input that has already arrived is split by the new codec. Nil restores the
// codec of the handler.
//
// SetCodec may be called only in OnFrame, OnOpen and OnError.
func (c *Client) SetCodec(codec frame.Codec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.override = nil
	if codec != nil {
		c.override = newClientCodec(codec)
	}
}

// codec returns the current codec. The caller is the serving goroutine, or holds mu.
func (c *Client) codec() *clientCodec {
	if c.override != nil {
		return c.override
	}
	return c.frames.ownCodec
}

// clientCodec is a codec with a property that is needed for each frame.
type clientCodec struct {
	frame.Codec

	// quick reports that the codec encodes a small payload about as fast as it can be
	// copied, so that it may do so under the client's mu.
	quick bool
}

func newClientCodec(codec frame.Codec) *clientCodec {
	quick := false
	switch codec.(type) { // not a type that embeds one of these
	case frame.Line, frame.Delimiter, frame.Fixed, frame.Length, frame.Netstring, frame.JSONLines:
		quick = true
	}
	return &clientCodec{codec, quick}
}
