package frame

import (
	"errors"
	"fmt"
	"math"
)

// ErrMagic reports a stream that has something else where the marker of a frame must be.
var ErrMagic = errors.New("wrong marker at the start of a frame")

// maxMagic limits the length of a marker.
const maxMagic = 64

// Checked is Length for frames with a marker before them and a checksum behind them, as many
// devices send them:
//
//	| Magic | header with the length field, and body, as Length says | checksum |
//
// The frame that Split returns is that of Length, without the marker and the checksum. With
//
//	Checked{Magic: []byte{0x7e, 0x7e}, Length: Length{Width: 2}, Checksum: CRC16Modbus}
//
// "hello" is 7e7e 0005 68656c6c6f 9b77.
//
// A wrong marker is ErrMagic as soon as it has arrived, and a wrong checksum ErrChecksum. Both
// end the stream, as every error but ErrTooLong. Checked does not search for the next marker:
// its bytes may as well be part of a payload, and TCP neither loses nor changes bytes, so one
// side is wrong about where a frame is.
type Checked struct {
	// Magic is the marker before each frame, at most 64 bytes; it may be empty.
	Magic []byte

	// Length describes what is between the marker and the checksum. Its Offset counts from the
	// end of the marker. If the length on the wire counts the marker or the checksum, too,
	// Adjust takes that away: -2 for a checksum of 16 bits.
	Length Length

	// Checksum is the kind of checksum. It follows the body directly.
	Checksum Checksum

	// Skip is the number of bytes at the start, beginning with Magic, that the checksum does
	// not cover. Zero means that it covers everything, and len(Magic) everything but the
	// marker. It covers all of the body.
	Skip int

	// LittleEndian means that the lowest byte of the checksum comes first, as in Modbus. That of
	// the length is Length.LittleEndian.
	LittleEndian bool
}

// Validate implements Validator.
func (c Checked) Validate() error {
	switch {
	case len(c.Magic) > maxMagic:
		return fmt.Errorf("%w: marker of %d bytes", ErrConfig, len(c.Magic))
	case c.Checksum > CRC32IEEE:
		return fmt.Errorf("%w: unknown checksum %d", ErrConfig, c.Checksum)
	case c.Skip < 0 || c.Skip > len(c.Magic)+c.Length.Offset+c.Length.width():
		return fmt.Errorf("%w: Skip %d is not within the header", ErrConfig, c.Skip)
	}
	return c.Length.Validate()
}

// Split finds the first frame. It reads only the marker and the header until the whole frame has
// arrived, and computes the checksum once.
func (c Checked) Split(buf []byte, _ int, eof bool) (frame []byte, n int, err error) {
	if err := c.Validate(); err != nil {
		return nil, 0, err
	}
	for i, b := range c.Magic[:min(len(c.Magic), len(buf))] {
		if buf[i] != b {
			return nil, 0, fmt.Errorf("%w: byte %d is %#02x, want %#02x", ErrMagic, i, buf[i], b)
		}
	}
	begin := len(c.Magic)
	if len(buf) <= begin {
		return nil, 0, nil
	}
	frame, n, err = c.Length.Split(buf[begin:], 0, eof)
	end := begin + n
	if err != nil || n == 0 || len(buf)-end < c.Checksum.Size() {
		return nil, 0, err
	}
	sum := c.Checksum.Sum(buf[c.Skip:end])
	if got := c.read(buf[end:]); got != sum {
		return nil, 0, fmt.Errorf("%w: %s is %#x, want %#x", ErrChecksum, c.Checksum, got, sum)
	}
	return frame, end + c.Checksum.Size(), nil
}

// Append appends payload as a frame from which Split returns payload. See Length.Append.
func (c Checked) Append(dst, payload []byte) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return dst, err
	}
	out, err := c.Length.Append(append(dst, c.Magic...), payload)
	if err != nil {
		return dst, err
	}
	sum := c.Checksum.Sum(out[len(dst)+c.Skip:])
	for i := range c.Checksum.Size() {
		out = append(out, byte(sum>>c.shift(i)))
	}
	return out, nil
}

// read reads a checksum at the beginning of p.
func (c *Checked) read(p []byte) (sum uint32) {
	for i := range c.Checksum.Size() {
		sum |= uint32(p[i]) << c.shift(i)
	}
	return sum
}

// shift is the place of byte i of the checksum, in bits.
func (c *Checked) shift(i int) int {
	if !c.LittleEndian {
		i = c.Checksum.Size() - 1 - i
	}
	return 8 * i
}

// Size implements Sizer.
func (c Checked) Size(buf []byte) int {
	if len(buf) <= len(c.Magic) {
		return 0
	}
	n := c.Length.Size(buf[len(c.Magic):])
	if n == 0 {
		return 0
	}
	return len(c.Magic) + n + c.Checksum.Size()
}

// Discard implements Discarder. The checksum of a frame that is too long is not checked.
func (c Checked) Discard(buf []byte, state uint64, eof bool) (n, next uint64, done bool) {
	if len(buf) <= len(c.Magic) {
		return 0, 0, false
	}
	n, next, done = c.Length.Discard(buf[len(c.Magic):], state, eof)
	if n == 0 {
		return 0, 0, false
	}
	more := uint64(len(c.Magic) + c.Checksum.Size())
	return n + min(more, math.MaxUint64-n), next, done
}
