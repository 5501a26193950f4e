package handler

// maxEncodings is for how many codecs a Message keeps what was encoded.
const maxEncodings = 8

// Message is a payload for many clients. It is encoded once for all clients of a Frames that have
// its codec: those of another Frames, and those that came after a Reconfigure, have another one. A
// small payload with a codec of lib/frame is encoded once more, for the first client alone. A Message
// must not be copied, and is not safe for concurrent use.
type Message struct {
	// Payload is what the frame contains. It must not change.
	Payload []byte

	encodings []encoding
	sent      bool // by appendLocked
}

// encoding is a message as a frame of a codec.
type encoding struct {
	codec *clientCodec
	parts [3][]byte
}

// Offer is WriteFrame of the payload of m, but never waits: it is for a sender that one slow
// client must not hold up. Where Frames.WhenSlow is SlowBlock, a client that has MaxPending bytes
// pending is not sent the message, and Offer returns ErrSlowReader. The other policies are as
// for Write.
func (c *Client) Offer(m *Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		o, err := c.admitLocked(noWait)
		if err != nil {
			return err
		}
		codec := c.codec()
		if m.isFirst(codec) {
			m.sent = true
			return c.appendLocked(o, codec, m.Payload)
		}
		if parts, ok := m.encoded(codec); ok {
			c.addPartsLocked(o, parts)
			return nil
		}
		c.releaseLocked()
		c.mu.Unlock() // a slow codec must not hold up others
		err = m.encode(codec)
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// isFirst reports whether the message should be encoded straight into the output of its first
// client, and not be kept: most messages are for one client, and would be allocated for it.
func (m *Message) isFirst(codec *clientCodec) bool {
	return !m.sent && len(m.encodings) == 0 && codec.quick && len(m.Payload) < directSize
}

// encoded returns the message as a frame of a codec, if it was encoded.
func (m *Message) encoded(codec *clientCodec) (parts [3][]byte, ok bool) {
	for i := range m.encodings {
		if m.encodings[i].codec == codec {
			return m.encodings[i].parts, true
		}
	}
	return parts, false
}

// encode encodes the message.
func (m *Message) encode(codec *clientCodec) error {
	parts, err := encode(codec, nil, m.Payload)
	if err != nil {
		return err
	}
	if len(m.encodings) == maxEncodings {
		m.encodings = m.encodings[:0]
	}
	m.encodings = append(m.encodings, encoding{codec, parts})
	return nil
}
