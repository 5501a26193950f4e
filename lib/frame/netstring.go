package frame

import (
	"fmt"
	"strconv"
)

// Netstring splits a stream into netstrings: the length in decimal digits, a colon, the
// frame and a comma, as in "5:hello," (https://cr.yp.to/proto/netstrings.txt). The zero
// value accepts frames up to DefaultMax.
//
// It is strict. A character that is not a digit, a leading zero, a length of more than
// 19 digits, and a missing comma are ErrLength, as soon as they are seen. A stream that
// ends within a netstring ends with io.ErrUnexpectedEOF.
type Netstring struct {
	// Max is the longest frame in bytes, without its length and comma. Zero or less
	// means DefaultMax.
	Max int
}

// maxDigits is the maximum number of digits of a length. Any such length plus its
// header fits in 64 bits.
const maxDigits = 19

var comma = []byte(",")

// Split finds the first netstring.
func (s Netstring) Split(buf []byte, _ int, _ bool) (frame []byte, n int, err error) {
	colon, length, err := netstringHead(buf)
	if err != nil || colon < 0 {
		return nil, 0, err
	}
	if max := limit(s.Max); length > uint64(max) {
		return nil, 0, tooLong(max)
	}
	begin, end := colon+1, colon+1+int(length)
	if end >= len(buf) {
		return nil, 0, nil
	}
	if buf[end] != ',' {
		return nil, 0, fmt.Errorf("%w: no comma after %d bytes", ErrLength, length)
	}
	return buf[begin:end:end], end + 1, nil
}

// netstringHead parses the length and returns the index of the colon, or -1 if the
// colon has not arrived.
func netstringHead(buf []byte) (colon int, length uint64, err error) {
	for i, c := range buf {
		switch {
		case c == ':' && i > 0:
			return i, length, nil
		case c < '0' || c > '9':
			return -1, 0, fmt.Errorf("%w: %q is not a digit", ErrLength, c)
		case i > 0 && length == 0:
			return -1, 0, fmt.Errorf("%w: leading zero", ErrLength)
		case i == maxDigits:
			return -1, 0, fmt.Errorf("%w: more than %d digits", ErrLength, maxDigits)
		}
		length = 10*length + uint64(c-'0')
	}
	return -1, 0, nil
}

// Size implements Sizer.
func (s Netstring) Size(buf []byte) int {
	colon, length, err := netstringHead(buf)
	if err != nil || colon < 0 || length > MaxMax {
		return 0
	}
	return colon + 1 + int(length) + 1
}

// Append appends payload as a netstring. It returns ErrTooLong if payload is longer
// than Max.
func (s Netstring) Append(dst, payload []byte) ([]byte, error) {
	head, tail, err := s.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, tail), nil
}

// Wrap implements Wrapper. The length and colon come before the payload, the comma
// after it.
func (s Netstring) Wrap(head, payload []byte) (newHead, tail []byte, err error) {
	if max := limit(s.Max); len(payload) > max {
		return head, nil, tooLong(max)
	}
	head = strconv.AppendInt(head, int64(len(payload)), 10)
	return append(head, ':'), comma, nil
}

// Discard implements Discarder. The length says how many bytes to discard. The comma is
// not checked.
func (s Netstring) Discard(buf []byte, _ uint64, _ bool) (n, next uint64, done bool) {
	colon, length, err := netstringHead(buf)
	if err != nil || colon < 0 {
		return 0, 0, false
	}
	return uint64(colon) + 1 + length + 1, 0, true
}
