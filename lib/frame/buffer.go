package frame

import (
	"errors"
	"fmt"
	"io"
)

// minSpace is the size of a Buffer's first allocation: 16 KiB holds a batch of
// small frames and is one read's worth.
const minSpace = 16 << 10

// growth is how many times what has arrived a Buffer may grow to in one step.
// Eight makes 1 MiB out of 16 KiB in two, and an announced gigabyte costs
// nothing before an eighth of it was sent.
const growth = 8

// Buffer holds the bytes of a stream that were read and not yet split. The zero
// value is empty and ready. It belongs to one goroutine.
//
// It grows when one frame has filled it and the codec asks for more: to twice
// its size, or to the size that a Sizer tells, but to no more than 8 times what
// has arrived and 16 KiB. So the codec's maximum bounds it to twice the longest
// frame, or 16 KiB, and a header alone makes it no larger.
//
// The codec may change from one frame to the next: what is not split yet is
// there for the other one.
type Buffer struct {
	data []byte // data[r:w] are the bytes not yet split
	r, w int
	seen int // how many of them the codec has searched in vain
	want int // size of the frame that has filled data, when the codec knows it

	tooLong bool // the codec's last word was ErrTooLong
	atEOF   bool // and that was at the end of the stream
	bad     bad
}

// NewBuffer returns an empty buffer with room for size bytes, at least one.
func NewBuffer(size int) *Buffer { return &Buffer{data: make([]byte, max(size, 1))} }

// MoveTo moves what waits to be split, and what is known of it, to dst, which
// is empty. b is empty then and keeps its memory. A reader with many streams
// can so keep one large buffer for all, and small ones for what is left over.
func (b *Buffer) MoveTo(dst *Buffer) {
	data := dst.data
	if len(data) < b.Len() {
		data = make([]byte, b.Len())
	}
	*dst = *b
	dst.data, dst.r = data, 0
	dst.w = copy(data, b.Bytes())
	b.Reset()
}

// Len returns how many bytes wait to be split.
func (b *Buffer) Len() int { return b.w - b.r }

// Cap returns the memory held, in bytes.
func (b *Buffer) Cap() int { return cap(b.data) }

// Bytes returns the bytes that wait to be split. They are valid until the next
// call of Space.
func (b *Buffer) Bytes() []byte { return b.data[b.r:b.w] }

// Reset empties the buffer and keeps its memory.
func (b *Buffer) Reset() { *b = Buffer{data: b.data} }

// Rescan makes the next codec look at all bytes afresh. It is needed only
// where the codec changes after Next found no frame: what one codec has
// searched in vain, another one has not seen.
func (b *Buffer) Rescan() { b.seen, b.want = 0, 0 }

// Space returns the free room for a read: at least one byte, more when there
// is a whole batch to come. Frames returned before are no longer valid.
// Filled says how much of it was used.
func (b *Buffer) Space() []byte {
	switch {
	case b.data == nil:
		b.data = make([]byte, minSpace)
	case b.want > len(b.data) || b.w-b.r == len(b.data):
		b.grow()
	case b.r > 0 && len(b.data)-b.w < len(b.data)/2:
		b.move(b.data) // once a frame at most: r is 0 then
	}
	return b.data[b.w:]
}

// grow makes room for a frame that does not fit.
func (b *Buffer) grow() {
	size, arrived := 2*len(b.data), b.w-b.r
	if b.want > size {
		// Divided, for 8 times as much may not fit an int.
		if (b.want-minSpace)/growth > arrived {
			b.want = growth*arrived + minSpace
		}
		size = max(size, b.want)
	}
	b.want = 0
	b.move(make([]byte, size))
}

// move moves what is there to the beginning of data, and goes on with that.
func (b *Buffer) move(data []byte) {
	b.w = copy(data, b.data[b.r:b.w])
	b.r, b.data = 0, data
}

// Filled adds the first n bytes of the last Space to what waits to be split.
func (b *Buffer) Filled(n int) { b.w += n }

// Next splits off the first frame. It reports false when there is none yet: at
// eof then all is split, or the error is io.ErrUnexpectedEOF because a part of
// a frame is left over. The frame is valid until the next call of Space.
//
// After an error of the codec the bytes stay, and the buffer is of no more use,
// unless it is ErrTooLong and Discard reports true.
func (b *Buffer) Next(c Codec, eof bool) (frame []byte, ok bool, err error) {
	if b.bad.codec != nil && !b.discard(eof) {
		return nil, false, nil
	}
	for b.r < b.w {
		rest := b.data[b.r:b.w]
		frame, n, err := c.Split(rest, b.seen, eof)
		if err != nil || n <= 0 || n > len(rest) {
			return nil, false, b.unsplit(c, frame, n, err, eof)
		}
		b.skip(n)
		if frame != nil {
			return frame, true, nil
		}
	}
	return nil, false, nil
}

// unsplit is the end of a Next for which Split has taken nothing off, or more than
// there is.
func (b *Buffer) unsplit(c Codec, frame []byte, n int, err error, eof bool) error {
	switch {
	case err != nil:
		b.tooLong, b.atEOF = errors.Is(err, ErrTooLong), eof
		return err
	case n != 0 || frame != nil:
		return fmt.Errorf("%w: Split took %d bytes of %d", ErrCodec, n, b.Len())
	case eof:
		return io.ErrUnexpectedEOF
	}
	b.await(c)
	return nil
}

// skip takes n bytes off the beginning.
func (b *Buffer) skip(n int) {
	b.r += n
	b.seen = 0
	if b.r == b.w {
		b.r, b.w = 0, 0 // all split: the next read has the whole room
	}
}

// await notes what is known of the frame that has begun. Its size matters only
// when the room is used up by it.
func (b *Buffer) await(c Codec) {
	rest := b.Bytes()
	b.seen, b.want = len(rest), 0
	if b.w < len(b.data) || len(rest) < len(b.data)/2 {
		return
	}
	if s, ok := c.(Sizer); ok {
		b.want = s.Size(rest)
	}
}
