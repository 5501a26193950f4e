package frame

import "fmt"

// ErrNoDelimiter reports a Delimiter with an empty delimiter. It wraps ErrConfig.
var ErrNoDelimiter = fmt.Errorf("%w: empty delimiter", ErrConfig)

// Delimiter splits a stream at a byte string of any length, such as "\x00" or
// "\r\n.\r\n", or at the first of several. Bytes before the end of the stream without a
// delimiter are also a frame. The zero value is invalid, because it has no delimiter.
type Delimiter struct {
	// Delim ends a frame. It must not be empty, and must not be modified.
	Delim []byte

	// Or has other byte strings that also end a frame. The earliest match counts, and
	// of several matches at the same place the longest, so that "\r\n" is found even if
	// "\r" is a delimiter too. Append uses Delim, which must not be a prefix of one in
	// Or: put the longest first.
	Or [][]byte

	// Max is the longest frame in bytes, without its delimiter. Zero or less means
	// DefaultMax.
	Max int

	// KeepEnd leaves the delimiter in the frame.
	KeepEnd bool
}

// Validate implements Validator.
func (d Delimiter) Validate() error {
	if len(d.Delim) == 0 {
		return ErrNoDelimiter
	}
	for _, or := range d.Or {
		if len(or) == 0 {
			return ErrNoDelimiter
		}
		if isPrefix(d.Delim, or) {
			return fmt.Errorf("%w: delimiter %q is a prefix of %q", ErrConfig, d.Delim, or)
		}
	}
	return nil
}

// Split finds the first delimiter. It searches each byte about once for each delimiter.
// Only the last few bytes of a read, which may be the first part of a delimiter, are
// searched again.
func (d Delimiter) Split(buf []byte, seen int, eof bool) (frame []byte, n int, err error) {
	if err := d.Validate(); err != nil {
		return nil, 0, err
	}
	max := limit(d.Max)
	i, n := d.find(buf, seen, eof)
	switch {
	case i < 0:
		return d.rest(buf, max, eof)
	case i > max:
		return nil, 0, tooLong(max)
	}
	end := i
	if d.KeepEnd {
		end += n
	}
	return buf[:end:end], i + n, nil
}

// rest handles bytes without a delimiter. The last of them may be the first part of a
// delimiter, so they are not counted as part of the frame yet.
func (d *Delimiter) rest(buf []byte, max int, eof bool) ([]byte, int, error) {
	certain := len(buf)
	if !eof {
		certain -= d.longest() - 1
	}
	if certain > max {
		return nil, 0, tooLong(max)
	}
	if eof && len(buf) > 0 {
		return buf, len(buf), nil
	}
	return nil, 0, nil
}

// Append appends payload and Delim. It returns ErrDelimiter if the receiver would not
// read payload as one frame, and ErrTooLong if payload is longer than Max. With
// KeepEnd, payload may already end in a delimiter.
func (d Delimiter) Append(dst, payload []byte) ([]byte, error) {
	head, delim, err := d.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, delim), nil
}

// Wrap implements Wrapper. Delim follows the payload.
func (d Delimiter) Wrap(head, payload []byte) (newHead, delim []byte, err error) {
	if err := d.Validate(); err != nil {
		return head, nil, err
	}
	length, delim := len(payload), d.Delim
	i, n := d.findIn(payload, 0, len(payload))
	switch {
	case i < 0 && !d.straddles(payload):
	case i >= 0 && i+n == length && d.KeepEnd && !d.undecided(payload, i, n):
		length, delim = i, nil // payload already ends in a delimiter
	default:
		return head, nil, ErrDelimiter
	}
	if max := limit(d.Max); length > max {
		return head, nil, tooLong(max)
	}
	return head, delim, nil
}

// Discard implements Discarder. The frame ends with the delimiter that would end it if
// there were no maximum.
func (d Delimiter) Discard(buf []byte, _ uint64, eof bool) (n, next uint64, done bool) {
	i, length := d.find(buf, 0, eof)
	if i >= 0 {
		return uint64(i + length), 0, true
	}
	return uint64(max(0, len(buf)-d.longest()+1)), 0, false
}
