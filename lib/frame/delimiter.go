package frame

import "fmt"

// ErrNoDelimiter reports a Delimiter without one, or with an empty one. It is
// an ErrConfig.
var ErrNoDelimiter = fmt.Errorf("%w: no delimiter set", ErrConfig)

// Delimiter splits at a byte string of any length, as "\x00" or "\r\n.\r\n", or
// at the first of several. What stands before the end of the stream without a
// delimiter is a frame too. The zero value has no delimiter, and is of no use.
type Delimiter struct {
	// Delim ends a frame. It must not be empty, and must not change.
	Delim []byte

	// Or are other byte strings that end a frame as well. The earliest one
	// counts, and of those at the same place the longest, so that "\r\n" is
	// found where "\r" is one too. Append uses Delim, which for that must not
	// be the beginning of another one: put the longest first.
	Or [][]byte

	// Max is the longest frame in bytes, its delimiter not counted. Zero or
	// less means DefaultMax.
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
		if begins(d.Delim, or) {
			return fmt.Errorf("%w: the delimiter %q is the beginning of %q", ErrConfig, d.Delim, or)
		}
	}
	return nil
}

// Split finds the first delimiter. It searches each byte about once for each of
// them, but for the few at the seam of two reads that may be the first half of
// a delimiter.
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

// rest judges bytes without a delimiter. The last of them may be the first part
// of one, so they count only once that is ruled out by length.
func (d *Delimiter) rest(buf []byte, max int, eof bool) ([]byte, int, error) {
	sure := len(buf)
	if !eof {
		sure -= d.longest() - 1
	}
	if sure > max {
		return nil, 0, tooLong(max)
	}
	if eof && len(buf) > 0 {
		return buf, len(buf), nil
	}
	return nil, 0, nil
}

// Append appends payload and Delim. A payload that would be read as another
// frame is ErrDelimiter, one over Max is ErrTooLong. With KeepEnd a payload may
// bring its own delimiter at its end.
func (d Delimiter) Append(dst, payload []byte) ([]byte, error) {
	head, delim, err := d.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, delim), nil
}

// Wrap implements Wrapper: Delim comes after the payload.
func (d Delimiter) Wrap(head, payload []byte) (newHead, delim []byte, err error) {
	if err := d.Validate(); err != nil {
		return head, nil, err
	}
	length, delim := len(payload), d.Delim
	i, n := d.findIn(payload, 0, len(payload))
	switch {
	case i < 0 && !d.straddles(payload):
	case i >= 0 && i+n == length && d.KeepEnd && !d.undecided(payload, i, n):
		length, delim = i, nil // it brings its own
	default:
		return head, nil, ErrDelimiter
	}
	if max := limit(d.Max); length > max {
		return head, nil, tooLong(max)
	}
	return head, delim, nil
}

// Discard implements Discarder: the frame ends with the delimiter that would
// end it if there were no maximum.
func (d Delimiter) Discard(buf []byte, _ uint64, eof bool) (n, next uint64, done bool) {
	i, length := d.find(buf, 0, eof)
	if i >= 0 {
		return uint64(i + length), 0, true
	}
	return uint64(max(0, len(buf)-d.longest()+1)), 0, false
}
