package handler

import "wireline/lib/frame"

// SetCodec changes the codec of the client in both directions, from the next frame on:
// for example for the message after DATA in SMTP, or the data block after set in
// memcached. Input that has already arrived is split by the new codec. Nil restores the
// codec of the handler.
//
// SetCodec may be called only in OnFrame, OnOpen and OnError.
func (c *Client) SetCodec(codec frame.Codec) {
	var own *clientCodec
	if codec != nil {
		own = newClientCodec(codec)
	}
	c.setSpecial(func(s *special) { s.codec = own })
}

// codec returns the current codec. The caller is the serving goroutine, or holds mu.
func (c *Client) codec() *clientCodec {
	if c.special != nil && c.special.codec != nil {
		return c.special.codec
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
