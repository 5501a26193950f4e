package frame

import (
	"fmt"
	"strconv"
)

// Netstring splits netstrings: the length in decimal digits, a colon, the frame
// and a comma, as in "5:hello," (https://cr.yp.to/proto/netstrings.txt). The
// zero value takes frames up to DefaultMax.
//
// It is strict: what is no digit, a zero before another digit, a length of more
// than 19 digits and a missing comma are ErrLength, each as soon as it is seen.
// A stream that ends within a netstring is io.ErrUnexpectedEOF.
type Netstring struct {
	// Max is the longest frame in bytes, its length and comma not counted.
	// Zero or less means DefaultMax.
	Max int
}

// maxDigits is how many digits of a length are read: any such number, and one
// with its header besides, fits 64 bits.
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

// netstringHead reads the length and returns where its colon is, or -1 while
// that is not there.
func netstringHead(buf []byte) (colon int, length uint64, err error) {
	for i, c := range buf {
		switch {
		case c == ':' && i > 0:
			return i, length, nil
		case c < '0' || c > '9':
			return -1, 0, fmt.Errorf("%w: %q where a digit should be", ErrLength, c)
		case i > 0 && length == 0:
			return -1, 0, fmt.Errorf("%w: zero before a digit", ErrLength)
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

// Append appends payload as a netstring. One over Max is ErrTooLong.
func (s Netstring) Append(dst, payload []byte) ([]byte, error) {
	head, tail, err := s.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, tail), nil
}

// Wrap implements Wrapper: length and colon come before the payload, the comma
// after it.
func (s Netstring) Wrap(head, payload []byte) (newHead, tail []byte, err error) {
	if max := limit(s.Max); len(payload) > max {
		return head, nil, tooLong(max)
	}
	head = strconv.AppendInt(head, int64(len(payload)), 10)
	return append(head, ':'), comma, nil
}

// Discard implements Discarder: the length says how many bytes to throw away.
// Whether the last is a comma is not looked at.
func (s Netstring) Discard(buf []byte, _ uint64, _ bool) (n, next uint64, done bool) {
	colon, length, err := netstringHead(buf)
	if err != nil || colon < 0 {
		return 0, 0, false
	}
	return uint64(colon) + 1 + length + 1, 0, true
}
