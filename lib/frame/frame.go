package frame

import (
	"errors"
	"fmt"
)

// DefaultMax is the longest frame in bytes where a codec's Max is zero.
const DefaultMax = 64 << 10

// MaxMax is the largest maximum there is, 512 MiB: a frame is held in memory
// whole, and twice its length must fit where int has 32 bits.
const MaxMax = 512 << 20

var (
	// ErrTooLong reports a frame that is longer than its codec's maximum.
	ErrTooLong = errors.New("frame too long")

	// ErrDelimiter reports a payload that cannot be encoded because it holds
	// the bytes that end a frame; sent as it is, it would be read as several.
	ErrDelimiter = errors.New("payload holds the delimiter")

	// ErrCodec reports a codec that broke the contract of Split.
	ErrCodec = errors.New("codec broke its contract")
)

// Codec tells where a frame ends in a stream of bytes, and writes one. A Codec
// holds no state of a stream: one value serves any number of connections at
// the same time.
type Codec interface {
	// Split finds the first frame in buf.
	//
	// It returns the frame and how many bytes of buf it takes up with its
	// delimiter or header. The frame may be a part of buf: it is valid until
	// buf changes. No frame yet is 0 bytes, a nil frame and a nil error: Split
	// is called again when more has come. Bytes to skip that carry no frame
	// are n > 0 and a nil frame (an empty frame is not nil).
	//
	// The first seen bytes of buf were there at the last call, which found no
	// frame in them; a codec that searches can go on from there, so that a
	// long frame in many small pieces costs one search. Zero is always right.
	//
	// At eof no more bytes will come. What Split then leaves over is reported
	// as io.ErrUnexpectedEOF by Buffer.Next.
	//
	// An error ends the stream, after the frames before it.
	Split(buf []byte, seen int, eof bool) (frame []byte, n int, err error)

	// Append appends payload to dst as one whole frame. On an error dst is
	// returned as it was.
	Append(dst, payload []byte) ([]byte, error)
}

// limit is the Max of a codec with its default and its bound.
func limit(max int) int {
	if max <= 0 {
		return DefaultMax
	}
	return min(max, MaxMax)
}

func tooLong(max int) error {
	return fmt.Errorf("%w (max %d bytes)", ErrTooLong, max)
}
