package frame

import (
	"bytes"
	"errors"
)

// ErrNoDelimiter reports a Delimiter whose Delim is empty.
var ErrNoDelimiter = errors.New("no delimiter set")

// Delimiter splits at a byte string of any length, as "\x00" or "\r\n\r\n".
// What stands before the end of the stream without a delimiter is a frame too.
type Delimiter struct {
	// Delim ends a frame. It must not be empty, and must not change.
	Delim []byte

	// Max is the longest frame in bytes, its delimiter not counted. Zero or
	// less means DefaultMax.
	Max int

	// KeepEnd leaves the delimiter in the frame.
	KeepEnd bool
}

// Split finds the first delimiter. It searches each byte once, but for the few
// at the seam of two reads that may be the first half of a delimiter.
func (d Delimiter) Split(buf []byte, seen int, eof bool) (frame []byte, n int, err error) {
	if len(d.Delim) == 0 {
		return nil, 0, ErrNoDelimiter
	}
	max := limit(d.Max)
	from := seen - (len(d.Delim) - 1)
	if from < 0 {
		from = 0
	}
	i := bytes.Index(buf[from:], d.Delim)
	if i < 0 {
		return d.rest(buf, max, eof)
	}
	i += from
	if i > max {
		return nil, 0, tooLong(max)
	}
	n = i + len(d.Delim)
	if d.KeepEnd {
		i = n
	}
	return buf[:i:i], n, nil
}

// rest judges bytes without a delimiter. The last of them may be the first part
// of one, so they count only once that is ruled out by length.
func (d Delimiter) rest(buf []byte, max int, eof bool) ([]byte, int, error) {
	sure := len(buf)
	if !eof {
		sure -= len(d.Delim) - 1
	}
	if sure > max {
		return nil, 0, tooLong(max)
	}
	if eof && len(buf) > 0 {
		return buf, len(buf), nil
	}
	return nil, 0, nil
}

// Append appends payload and the delimiter. A payload that would be read as
// another frame is ErrDelimiter, one over Max is ErrTooLong. With KeepEnd a
// payload may bring its own delimiter at its end.
func (d Delimiter) Append(dst, payload []byte) ([]byte, error) {
	if len(d.Delim) == 0 {
		return dst, ErrNoDelimiter
	}
	if d.KeepEnd {
		payload = bytes.TrimSuffix(payload, d.Delim)
	}
	if max := limit(d.Max); len(payload) > max {
		return dst, tooLong(max)
	}
	whole := append(append(dst, payload...), d.Delim...)
	// Found earlier than at its end, the delimiter is in the payload, or begins
	// there ("-" sent before "--").
	if bytes.Index(whole[len(dst):], d.Delim) != len(payload) {
		return dst, ErrDelimiter
	}
	return whole, nil
}
