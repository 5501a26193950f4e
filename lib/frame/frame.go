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

	// ErrLength reports a length that cannot be right: it is shorter than the
	// header that it includes, runs over, or is not written as it must be.
	ErrLength = errors.New("bad length")

	// ErrConfig reports a codec whose fields contradict each other. Validate
	// tells so before there is a stream; otherwise the first use does.
	ErrConfig = errors.New("codec is set up wrongly")

	// ErrCodec reports a codec that broke the contract of Codec or of one of
	// the interfaces that it may implement.
	ErrCodec = errors.New("codec broke its contract")
)

// Codec tells where a frame ends in a stream of bytes, and writes one. A Codec
// holds no state of a stream: one value serves any number of connections at
// the same time.
//
// A Codec may be a Sizer, a Wrapper, a Discarder or a Validator besides; those
// of this package are, where it makes sense.
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
	// An error ends the stream, after the frames before it. Only after
	// ErrTooLong it can go on, if the codec is a Discarder.
	Split(buf []byte, seen int, eof bool) (frame []byte, n int, err error)

	// Append appends payload to dst as one whole frame. On an error dst is
	// returned as it was.
	Append(dst, payload []byte) ([]byte, error)
}

// Sizer is a Codec that may know a frame's length before all of it is there. It
// saves Buffer the copies of growing in small steps.
type Sizer interface {
	// Size returns how many bytes the first frame in buf takes up, with its
	// delimiter or header, or 0 when that is not known. It is asked about
	// bytes in which Split found no frame and no error. It is a hint: memory is
	// given for what has come, not for what is announced.
	Size(buf []byte) int
}

// Wrapper is a Codec that encodes around the payload, so that a large payload
// can be written without being copied, as with net.Buffers.
type Wrapper interface {
	// Wrap appends to head what stands before payload on the wire, and
	// returns what stands after it. Both with the payload between them are
	// the bytes that Append appends; the errors are those of Append, and head
	// is then returned as it was. The tail may belong to the codec: it stays
	// as it is, and must not be changed.
	Wrap(head, payload []byte) (newHead, tail []byte, err error)
}

// Discarder is a Codec that can find the end of a frame that is too long, so
// that Buffer.Discard can throw it away and go on after it.
type Discarder interface {
	// Discard returns how many bytes to throw away from the beginning of buf
	// on. They may be more than buf has, then those to come are meant. Done
	// says that the frame ends with them. Otherwise Discard is called again
	// with what follows, when it is there: 0 bytes mean that it takes more to
	// tell.
	//
	// At the first call buf begins with a frame for which Split returned
	// ErrTooLong, and state is 0. At least a byte must go then; 0 bytes mean
	// that this frame's end cannot be found. Later state is the next that was
	// returned last: the codec itself has no memory.
	//
	// At eof no more bytes will come, and if the frame's end is not among
	// those in buf, all of them are dropped.
	Discard(buf []byte, state uint64, eof bool) (n, next uint64, done bool)
}

// Validator is a Codec that can be set up wrongly.
type Validator interface {
	// Validate returns nil, or ErrConfig with the reason.
	Validate() error
}

// limit is the Max of a codec with its default and its bound.
func limit(max int) int {
	if max <= 0 {
		return DefaultMax
	}
	return min(max, MaxMax)
}

// join ends what Wrap began, as Append does.
func join(head, payload, tail []byte) []byte {
	return append(append(head, payload...), tail...)
}

func tooLong(max int) error {
	return fmt.Errorf("%w (max %d bytes)", ErrTooLong, max)
}
