package frame

// bad is what is left to throw away of a frame that is too long.
type bad struct {
	codec Discarder // nil when nothing is
	n     uint64    // bytes still to go before the codec is asked again
	state uint64
	done  bool // the frame ends with them
}

// Discard goes on after a frame that is too long: when Next has just returned
// ErrTooLong, the rest of that frame is thrown away as it comes, without being
// kept, and Next returns the frames after it. It reports false, and the buffer
// is of no more use, when there was another error or c is no Discarder that
// finds the frame's end.
//
// The frame costs one error, however long it is and however it is cut up. If
// the stream ends within it, that is no second one.
func (b *Buffer) Discard(c Codec) bool {
	d, ok := c.(Discarder)
	if !ok || !b.tooLong {
		return false
	}
	n, state, done := d.Discard(b.data[b.r:b.w], 0, b.atEOF)
	if n == 0 && (done || !b.atEOF) {
		return false // else the same frame would be the next again
	}
	b.tooLong = false
	b.bad = bad{codec: d, n: n, state: state, done: done}
	b.discard(b.atEOF)
	return true
}

// Discarding reports whether a part of a frame that is to be thrown away is
// still to come. The buffer must be kept then, also when Len is 0.
func (b *Buffer) Discarding() bool { return b.bad.codec != nil }

// discard throws away what has come of the bad frame, and reports whether that
// was all of it.
func (b *Buffer) discard(eof bool) bool {
	for {
		n := min(b.bad.n, uint64(b.w-b.r))
		b.skip(int(n))
		b.bad.n -= n
		switch {
		case b.bad.n > 0:
			return b.lacks(eof)
		case b.bad.done:
			b.bad = bad{}
			return true
		case b.r == b.w:
			return b.lacks(eof)
		}
		b.bad.n, b.bad.state, b.bad.done = b.bad.codec.Discard(b.data[b.r:b.w], b.bad.state, eof)
		if b.bad.n == 0 && !b.bad.done {
			return b.lacks(eof)
		}
	}
}

// lacks ends a step that did not come to the end of the bad frame. After the
// end of the stream none will.
func (b *Buffer) lacks(eof bool) bool {
	if eof {
		b.Reset()
	}
	return false
}
