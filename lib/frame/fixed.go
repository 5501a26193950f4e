package frame

import "fmt"

// Fixed splits a stream into frames of one length. The zero value is invalid, because
// it has no length. A stream that ends within a frame ends with io.ErrUnexpectedEOF.
type Fixed struct {
	// Len is the length of every frame in bytes, from 1 to MaxMax.
	Len int
}

// Validate implements Validator.
func (f Fixed) Validate() error {
	if f.Len < 1 || f.Len > MaxMax {
		return fmt.Errorf("%w: frame length %d", ErrConfig, f.Len)
	}
	return nil
}

// Split returns the first Len bytes.
func (f Fixed) Split(buf []byte, _ int, _ bool) (frame []byte, n int, err error) {
	if err := f.Validate(); err != nil || len(buf) < f.Len {
		return nil, 0, err
	}
	return buf[:f.Len:f.Len], f.Len, nil
}

// Size implements Sizer.
func (f Fixed) Size([]byte) int { return f.Len }

// Append appends payload, which must have Len bytes. It returns ErrTooLong for a longer
// payload and ErrLength for a shorter one.
func (f Fixed) Append(dst, payload []byte) ([]byte, error) {
	if _, _, err := f.Wrap(dst, payload); err != nil {
		return dst, err
	}
	return append(dst, payload...), nil
}

// Wrap implements Wrapper. There is nothing before or after the payload.
func (f Fixed) Wrap(head, payload []byte) (newHead, tail []byte, err error) {
	if err := f.Validate(); err != nil {
		return head, nil, err
	}
	switch n := len(payload); {
	case n > f.Len:
		return head, nil, tooLong(f.Len)
	case n < f.Len:
		return head, nil, fmt.Errorf("%w: payload of %d bytes for a frame of %d bytes", ErrLength, n, f.Len)
	}
	return head, nil, nil
}
