package frame

import (
	"errors"
	"fmt"
)

// DefaultMax is the maximum frame size in bytes if the Max of a codec is zero.
const DefaultMax = 64 << 10

// MaxMax is the largest possible Max, 512 MiB. A whole frame is held in memory, and
// twice its length must fit in an int of 32 bits.
const MaxMax = 512 << 20

var (
	// ErrTooLong reports a frame that is longer than its codec's maximum.
	ErrTooLong = errors.New("frame too long")

	// ErrDelimiter reports a payload that cannot be encoded because it contains the
	// delimiter: the receiver would read it as several frames.
	ErrDelimiter = errors.New("payload contains the delimiter")

	// ErrLength reports an invalid length: it is shorter than the header that it
	// includes, it overflows, or its encoding is invalid.
	ErrLength = errors.New("bad length")

	// ErrConfig reports a codec with invalid or contradictory fields. Validate returns
	// it before there is a stream; otherwise the first use of the codec does.
	ErrConfig = errors.New("invalid codec settings")

	// ErrCodec reports a codec that broke the contract of Codec or of an optional
	// interface.
	ErrCodec = errors.New("codec broke its contract")
)

// Codec finds the end of a frame in a stream of bytes, and encodes frames. A Codec
// holds no state of a stream: one value may be used for any number of connections at
// the same time.
//
// A Codec may also implement Sizer, Wrapper, Discarder and Validator. The codecs of
// this package do where it makes sense.
type Codec interface {
	// Split finds the first frame in buf.
	//
	// It returns the frame, and n, the number of bytes that the frame occupies in buf
	// including its delimiter or header. The frame may be a part of buf; it is valid
	// until buf changes. If there is no whole frame yet, Split returns a nil frame, n
	// == 0 and a nil error; it is called again when more bytes have arrived. To skip
	// bytes that carry no frame, it returns a nil frame and n > 0. An empty frame is
	// not nil.
	//
	// The first seen bytes of buf were there at the last call, which found no frame in
	// them. A codec that searches may continue from there, so that a long frame in many
	// small pieces is searched only once. Treating seen as zero is always correct.
	//
	// If eof is set, no more bytes will follow. Buffer.Next reports bytes that Split
	// then leaves over as io.ErrUnexpectedEOF.
	//
	// An error ends the stream, after the frames before it. After ErrTooLong the stream
	// can continue if the codec is a Discarder.
	Split(buf []byte, seen int, eof bool) (frame []byte, n int, err error)

	// Append appends payload to dst as one whole frame. On error, it returns dst
	// unchanged.
	Append(dst, payload []byte) ([]byte, error)
}

// Sizer is a Codec that may know the length of a frame before the whole frame has
// arrived. It saves Buffer from growing in small steps, which copies the bytes each
// time.
type Sizer interface {
	// Size returns how many bytes the first frame in buf occupies, with its delimiter
	// or header, or 0 if that is unknown. Split has found no frame and no error in buf.
	// The result is a hint: memory is allocated for the bytes that have arrived, not
	// for a length that is only announced.
	Size(buf []byte) int
}

// Wrapper is a Codec that encodes around the payload, so that a large payload can be
// written without being copied, for example with net.Buffers.
type Wrapper interface {
	// Wrap appends to head the bytes before the payload, and returns the bytes after it
	// in tail. newHead, payload and tail together are what Append appends. The errors
	// are those of Append; on error, head is returned unchanged. tail may belong to the
	// codec, so the caller must not modify it.
	Wrap(head, payload []byte) (newHead, tail []byte, err error)
}

// Discarder is a Codec that can find the end of a frame that is too long, so that
// Buffer.Discard can discard it and continue after it.
type Discarder interface {
	// Discard returns how many bytes to discard from the beginning of buf. n may be
	// larger than len(buf); then the following bytes are discarded too. done reports
	// that the frame ends with these bytes. Otherwise Discard is called again with the
	// bytes that follow. n == 0 means that Discard needs more bytes to decide.
	//
	// At the first call, buf begins with a frame for which Split has returned
	// ErrTooLong, and state is 0. Then n == 0 means that the end of this frame cannot
	// be found. At later calls, state is the next of the previous call, since the codec
	// itself has no state.
	//
	// If eof is set, no more bytes will follow. If buf does not contain the end of the
	// frame, all bytes are discarded.
	Discard(buf []byte, state uint64, eof bool) (n, next uint64, done bool)
}

// Validator is a Codec whose settings can be invalid.
type Validator interface {
	// Validate returns nil, or an error that wraps ErrConfig and says what is wrong.
	Validate() error
}

// limit returns the effective maximum for the Max field of a codec.
func limit(max int) int {
	if max <= 0 {
		return DefaultMax
	}
	return min(max, MaxMax)
}

// join completes the result of Wrap to that of Append.
func join(head, payload, tail []byte) []byte {
	return append(append(head, payload...), tail...)
}

func tooLong(max int) error {
	return fmt.Errorf("%w (max %d bytes)", ErrTooLong, max)
}
