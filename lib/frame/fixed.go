package frame

import "fmt"

// Fixed splits frames of one length. The zero value has none, and is of no use.
// A stream that ends within a frame is io.ErrUnexpectedEOF.
type Fixed struct {
	// Len is the length of every frame in bytes, 1 to MaxMax.
	Len int
}

// Validate implements Validator.
func (f Fixed) Validate() error {
	if f.Len < 1 || f.Len > MaxMax {
		return fmt.Errorf("%w: frames of %d bytes", ErrConfig, f.Len)
	}
	return nil
}

// Split takes the first Len bytes.
func (f Fixed) Split(buf []byte, _ int, _ bool) (frame []byte, n int, err error) {
	if err := f.Validate(); err != nil || len(buf) < f.Len {
		return nil, 0, err
	}
	return buf[:f.Len:f.Len], f.Len, nil
}

// Size implements Sizer.
func (f Fixed) Size([]byte) int { return f.Len }

// Append appends payload, which must have Len bytes: a longer one is
// ErrTooLong, a shorter one ErrLength.
func (f Fixed) Append(dst, payload []byte) ([]byte, error) {
	if _, _, err := f.Wrap(dst, payload); err != nil {
		return dst, err
	}
	return append(dst, payload...), nil
}

// Wrap implements Wrapper: the payload is all.
func (f Fixed) Wrap(head, payload []byte) (newHead, tail []byte, err error) {
	if err := f.Validate(); err != nil {
		return head, nil, err
	}
	switch n := len(payload); {
	case n > f.Len:
		return head, nil, tooLong(f.Len)
	case n < f.Len:
		return head, nil, fmt.Errorf("%w: %d bytes for a frame of %d", ErrLength, n, f.Len)
	}
	return head, nil, nil
}
