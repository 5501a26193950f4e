package frame

import (
	"errors"
	"fmt"
	"io"
)

// minSpace is the size of the first allocation of a Buffer: 16 KiB holds a batch of
// small frames, and is one read.
const minSpace = 16 << 10

// growth limits how much a Buffer grows in one step: to 8 times what has arrived. That
// is 1 MiB in two steps from 16 KiB, and an announced gigabyte costs nothing before an
// eighth of it has arrived.
const growth = 8

// Buffer holds the bytes of a stream that were read but not split yet. The zero value
// is empty and ready to use. It is not safe for concurrent use.
//
// It grows when one frame has filled it and is not complete: to twice its size, or to
// the size that a Sizer returns, but to no more than 8 times what has arrived plus 16
// KiB. So its size is limited to twice the longest frame that the codec allows, or 16
// KiB, and a header alone does not make it grow.
//
// The codec may change from one frame to the next. The new codec gets the bytes that
// are not split yet.
type Buffer struct {
	data []byte // data[r:w] are the bytes not yet split
	r, w int
	seen int // how many of them the codec has searched without finding a frame
	want int // size of the frame that has filled data; 0 if unknown

	tooLong    bool // the last error of the codec was ErrTooLong
	atEOF      bool // that was at the end of the stream
	discarding discarding
}

// NewBuffer returns an empty buffer with room for size bytes, or one byte if size is
// less.
func NewBuffer(size int) *Buffer { return &Buffer{data: make([]byte, max(size, 1))} }

// MoveTo moves the unsplit bytes and the state of b to dst, which must be empty. b is
// empty afterwards and keeps its memory. With it, a reader of many streams can use one
// large buffer for reading, and small ones for partial frames.
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

// Len returns the number of unsplit bytes.
func (b *Buffer) Len() int { return b.w - b.r }

// Cap returns the size of the buffer in bytes.
func (b *Buffer) Cap() int { return cap(b.data) }

// Full reports whether the unsplit bytes fill the buffer, so that Space makes it grow.
func (b *Buffer) Full() bool { return b.Len() == len(b.data) }

// Bytes returns the unsplit bytes. They are valid until the next call of Space.
func (b *Buffer) Bytes() []byte { return b.data[b.r:b.w] }

// Reset empties the buffer and keeps its memory.
func (b *Buffer) Reset() { *b = Buffer{data: b.data} }

// Rescan makes the next codec search all bytes again. Call it only if the codec changes
// after Next has found no frame: the bytes that one codec has searched are new to
// another one.
func (b *Buffer) Rescan() { b.seen, b.want = 0, 0 }

// Space returns free memory to read into: at least one byte, and more if possible.
// Frames returned earlier are no longer valid. Call Filled to say how many bytes were
// read.
func (b *Buffer) Space() []byte {
	switch {
	case b.data == nil:
		b.data = make([]byte, minSpace)
	case b.want > len(b.data) || b.w-b.r == len(b.data):
		b.grow()
	case b.r > 0 && len(b.data)-b.w < len(b.data)/2:
		b.move(b.data) // at most once per frame, because r is 0 afterwards
	}
	return b.data[b.w:]
}

// grow makes room for a frame that does not fit.
func (b *Buffer) grow() {
	size, arrived := 2*len(b.data), b.w-b.r
	if b.want > size {
		// Divide instead of multiplying, which could overflow int.
		if (b.want-minSpace)/growth > arrived {
			b.want = growth*arrived + minSpace
		}
		size = max(size, b.want)
	}
	b.want = 0
	b.move(make([]byte, size))
}

// move moves the unsplit bytes to the beginning of data, which becomes the memory of
// the buffer.
func (b *Buffer) move(data []byte) {
	b.w = copy(data, b.data[b.r:b.w])
	b.r, b.data = 0, data
}

// Filled adds the first n bytes of the last result of Space to the unsplit bytes.
func (b *Buffer) Filled(n int) { b.w += n }

// Next splits off the first frame. ok is false if there is no whole frame. At eof, this
// means that everything is split, or err is io.ErrUnexpectedEOF because a partial frame
// is left. The frame is valid until the next call of Space.
//
// After an error of the codec, the buffer cannot be used any more, except if the error
// is ErrTooLong and Discard returns true.
func (b *Buffer) Next(c Codec, eof bool) (frame []byte, ok bool, err error) {
	if b.discarding.codec != nil && !b.discard(eof) {
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

// unsplit ends a call of Next in which Split has split nothing off, or returned an
// invalid length.
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

// skip removes n bytes from the beginning.
func (b *Buffer) skip(n int) {
	b.r += n
	b.seen = 0
	if b.r == b.w {
		b.r, b.w = 0, 0 // everything is split: the next read can use the whole buffer
	}
}

// await records the state of a partial frame. Its size matters only if it has filled
// the buffer.
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
