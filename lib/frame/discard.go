package frame

// discarding is the state of discarding a frame that is too long.
type discarding struct {
	codec Discarder // nil if nothing is being discarded
	n     uint64    // bytes to discard before the codec is asked again
	state uint64
	done  bool // the frame ends after n bytes
}

// Discard continues after a frame that is too long. Call it when Next has just returned
// ErrTooLong. The rest of that frame is then discarded as it arrives, and Next returns
// the frames after it. Discard reports false if the last error was another one, or if c
// is not a Discarder that can find the end of the frame. Then the buffer cannot be used
// any more.
//
// A long frame causes one error, however long it is and in whatever pieces it arrives.
// If the stream ends within it, there is no second error.
func (b *Buffer) Discard(c Codec) bool {
	d, ok := c.(Discarder)
	if !ok || !b.tooLong {
		return false
	}
	n, state, done := d.Discard(b.data[b.r:b.w], 0, b.atEOF)
	if n == 0 && (done || !b.atEOF) {
		return false // otherwise Next would return the same error again
	}
	b.tooLong = false
	b.discarding = discarding{codec: d, n: n, state: state, done: done}
	b.discard(b.atEOF)
	return true
}

// Discarding reports whether a part of a frame that is being discarded has not arrived
// yet. The buffer must then be kept, even if Len is 0.
func (b *Buffer) Discarding() bool { return b.discarding.codec != nil }

// discard discards what has arrived of the frame that is too long, and reports whether
// that was all of it.
func (b *Buffer) discard(eof bool) bool {
	for {
		n := min(b.discarding.n, uint64(b.w-b.r))
		b.skip(int(n))
		b.discarding.n -= n
		switch {
		case b.discarding.n > 0:
			return b.stillDiscarding(eof)
		case b.discarding.done:
			b.discarding = discarding{}
			return true
		case b.r == b.w:
			return b.stillDiscarding(eof)
		}
		b.discarding.n, b.discarding.state, b.discarding.done = b.discarding.codec.Discard(b.data[b.r:b.w], b.discarding.state, eof)
		if b.discarding.n == 0 && !b.discarding.done {
			return b.stillDiscarding(eof)
		}
	}
}

// stillDiscarding returns false, because the end of the discarded frame has not
// arrived. At the end of the stream it also stops discarding.
func (b *Buffer) stillDiscarding(eof bool) bool {
	if eof {
		b.Reset()
	}
	return false
}
