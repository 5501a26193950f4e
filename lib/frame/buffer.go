package frame

import (
	"fmt"
	"io"
)

// minSpace is the size of a Buffer's first allocation: 16 KiB holds a batch of
// small frames and is one read's worth.
const minSpace = 16 << 10

// Buffer holds the bytes of a stream that were read and not yet split. The zero
// value is empty and ready. It belongs to one goroutine.
//
// It doubles when one frame has filled it and the codec asks for more, so the
// codec's maximum bounds it to twice the longest frame, or 16 KiB.
type Buffer struct {
	data []byte // data[r:w] are the bytes not yet split
	r, w int
	seen int // how many of them the codec has searched in vain
}

// Len returns how many bytes wait to be split.
func (b *Buffer) Len() int { return b.w - b.r }

// Cap returns the memory held, in bytes.
func (b *Buffer) Cap() int { return cap(b.data) }

// Bytes returns the bytes that wait to be split. They are valid until the next
// call of Space.
func (b *Buffer) Bytes() []byte { return b.data[b.r:b.w] }

// Reset empties the buffer and keeps its memory.
func (b *Buffer) Reset() { b.r, b.w, b.seen = 0, 0, 0 }

// Space returns the free room for a read: at least one byte, more when there
// is a whole batch to come. Frames returned before are no longer valid.
// Filled says how much of it was used.
func (b *Buffer) Space() []byte {
	if b.data == nil {
		b.data = make([]byte, minSpace)
	}
	if b.r > 0 && len(b.data)-b.w < len(b.data)/2 {
		b.w = copy(b.data, b.data[b.r:b.w]) // once a frame at most: r is 0 now
		b.r = 0
	}
	if b.w == len(b.data) {
		bigger := make([]byte, 2*len(b.data))
		copy(bigger, b.data)
		b.data = bigger
	}
	return b.data[b.w:]
}

// Filled adds the first n bytes of the last Space to what waits to be split.
func (b *Buffer) Filled(n int) { b.w += n }

// Next splits off the first frame. It reports false when there is none yet: at
// eof then all is split, or the error is io.ErrUnexpectedEOF because a part of
// a frame is left over. The frame is valid until the next call of Space.
// After an error of the codec the bytes stay, and the buffer is of no more use.
func (b *Buffer) Next(c Codec, eof bool) (frame []byte, ok bool, err error) {
	for b.r < b.w {
		rest := b.data[b.r:b.w]
		frame, n, err := c.Split(rest, b.seen, eof)
		switch {
		case err != nil:
			return nil, false, err
		case n < 0 || n > len(rest) || (n == 0 && frame != nil):
			return nil, false, fmt.Errorf("%w: Split took %d bytes of %d", ErrCodec, n, len(rest))
		case n == 0 && eof:
			return nil, false, io.ErrUnexpectedEOF
		case n == 0:
			b.seen = len(rest)
			return nil, false, nil
		}
		b.r += n
		b.seen = 0
		if b.r == b.w {
			b.r, b.w = 0, 0 // all split: the next read has the whole room
		}
		if frame != nil {
			return frame, true, nil
		}
	}
	return nil, false, nil
}
