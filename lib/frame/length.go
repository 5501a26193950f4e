package frame

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Varint is the Width of a length that is encoded as an unsigned varint: seven bits in
// each byte, the lowest first, with the top bit set in all bytes but the last. This is
// the base 128 varint of Protocol Buffers, and Uvarint of encoding/binary. The encoding
// must be the shortest possible.
const Varint = -1

// maxOffset limits the number of bytes before a length field.
const maxOffset = 64 << 10

// Length splits a stream into frames that begin with their length. The zero value has a
// big-endian length field of 4 bytes. The length counts the bytes after it, and is not
// part of the frame.
//
// In general, a frame on the wire is Offset bytes, the length field, and a body of as
// many bytes as the length says plus Adjust:
//
//	wire                        codec
//	0000 0005 hello             Length{}
//	0007 hello                  Length{Width: 2, Adjust: -2}
//	cafe 05 hello               Length{Width: 1, Offset: 2}
//	05 cafe hello               Length{Width: 1, Adjust: 2}
//	ca 0005 fe hello            Length{Width: 2, Offset: 1, Adjust: 1}
//
// Split returns the body. In the last two examples it includes cafe or fe, which the
// length does not count. Strip and KeepHeader change where the returned frame begins.
//
// A length over Max is ErrTooLong as soon as the length has arrived. An invalid length
// is ErrLength. A stream that ends within a frame ends with io.ErrUnexpectedEOF.
type Length struct {
	// Width is the size of the length field in bytes: 1, 2, 3, 4, 8, or Varint. Zero
	// means 4. The length is unsigned.
	Width int

	// LittleEndian means that the lowest byte of the length comes first.
	LittleEndian bool

	// Offset is the number of bytes before the length field, at most 64 KiB. The length
	// does not count them, unless Adjust says so.
	Offset int

	// Adjust is added to the length to get the number of bytes after the length field.
	// It is negative if the length also counts the header, and positive if bytes follow
	// that the length does not count.
	Adjust int

	// Strip is the number of bytes to remove from the front of the frame. Zero means
	// the whole header, Offset and the length field.
	Strip int

	// KeepHeader removes nothing from the frame. Strip must be zero then.
	KeepHeader bool

	// Max is the maximum number of bytes after the length field. Zero or less means
	// DefaultMax.
	Max int
}

// Validate implements Validator.
func (l Length) Validate() error {
	end := l.Offset + l.width()
	switch {
	case l.Width < Varint || l.Width > 8 || l.Width > 4 && l.Width < 8:
		return fmt.Errorf("%w: length field of %d bytes", ErrConfig, l.Width)
	case l.Offset < 0 || l.Offset > maxOffset:
		return fmt.Errorf("%w: offset %d of the length field", ErrConfig, l.Offset)
	case l.Adjust > MaxMax || l.Adjust < -MaxMax || l.Adjust < 0 && uint64(-l.Adjust) > l.most():
		return fmt.Errorf("%w: length field of %d bytes with Adjust %d", ErrConfig, l.Width, l.Adjust)
	case l.KeepHeader && l.Strip != 0:
		return fmt.Errorf("%w: KeepHeader with Strip %d", ErrConfig, l.Strip)
	case l.Strip < 0 || l.Strip-limit(l.Max) > end:
		return fmt.Errorf("%w: Strip %d", ErrConfig, l.Strip)
	case l.Strip > l.Offset && (l.Strip < end || l.Width == Varint):
		return fmt.Errorf("%w: Strip %d ends inside the length field", ErrConfig, l.Strip)
	}
	return nil
}

// Split finds the first frame. It reads only the header until the whole frame has
// arrived.
func (l Length) Split(buf []byte, _ int, _ bool) (frame []byte, n int, err error) {
	head, total, err := l.measure(buf)
	if err != nil || head == 0 {
		return nil, 0, err
	}
	strip := l.strip(head)
	if total < uint64(strip) {
		return nil, 0, fmt.Errorf("%w: frame of %d bytes is shorter than Strip %d", ErrLength, total, strip)
	}
	if max := limit(l.Max); total-uint64(head) > uint64(max) {
		return nil, 0, tooLong(max)
	}
	if total > uint64(len(buf)) {
		return nil, 0, nil
	}
	n = int(total)
	return buf[strip:n:n], n, nil
}

// Size implements Sizer.
func (l Length) Size(buf []byte) int {
	head, total, err := l.measure(buf)
	if err != nil || head == 0 || total-uint64(head) > MaxMax {
		return 0
	}
	return int(total)
}

// measure returns the end of the length field, and the size of the frame with
// everything before it, regardless of Max. head is 0 if the length field is incomplete.
func (l *Length) measure(buf []byte) (head int, total uint64, err error) {
	if err := l.Validate(); err != nil {
		return 0, 0, err
	}
	length, head, err := l.field(buf)
	if err != nil || head == 0 {
		return 0, 0, err
	}
	total = length + uint64(l.Adjust) // modulo 1<<64; the checks below detect an overflow
	if l.Adjust < 0 && total > length {
		return 0, 0, fmt.Errorf("%w: %d is less than the %d bytes that it includes", ErrLength, length, -l.Adjust)
	}
	if l.Adjust > 0 && total < length || total+uint64(head) < total {
		return 0, 0, fmt.Errorf("%w: %d overflows", ErrLength, length)
	}
	return head, total + uint64(head), nil
}

// field parses the length field and returns its end; 0 if it is incomplete.
func (l *Length) field(buf []byte) (length uint64, end int, err error) {
	if len(buf) <= l.Offset {
		return 0, 0, nil
	}
	field := buf[l.Offset:]
	if l.Width == Varint {
		return l.varint(field)
	}
	width := l.width()
	if len(field) < width {
		return 0, 0, nil
	}
	for i, b := range field[:width] {
		if l.LittleEndian {
			length |= uint64(b) << (8 * i)
		} else {
			length = length<<8 | uint64(b)
		}
	}
	return length, l.Offset + width, nil
}

func (l *Length) varint(field []byte) (length uint64, end int, err error) {
	length, n := binary.Uvarint(field)
	switch {
	case n == 0:
		return 0, 0, nil
	case n < 0:
		return 0, 0, fmt.Errorf("%w: varint of more than 64 bits", ErrLength)
	case n > 1 && field[n-1] == 0:
		return 0, 0, fmt.Errorf("%w: %d encoded as a varint of %d bytes", ErrLength, length, n)
	}
	return length, l.Offset + n, nil
}

// width returns the size of the length field, for Varint the smallest possible size.
func (l *Length) width() int {
	switch l.Width {
	case 0:
		return 4
	case Varint:
		return 1
	}
	return l.Width
}

// most returns the largest possible length.
func (l *Length) most() uint64 {
	if l.Width == Varint {
		return math.MaxUint64
	}
	return math.MaxUint64 >> (64 - 8*l.width())
}

// strip returns how many bytes to remove from the front of a frame whose header has
// head bytes.
func (l *Length) strip(head int) int {
	if l.Strip == 0 && !l.KeepHeader {
		return head
	}
	return l.Strip
}
