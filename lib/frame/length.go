package frame

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Varint is the Width of a length that is written as an unsigned varint: seven
// bits in a byte, the lowest first, the top bit set in all but the last. That
// is Protocol Buffers' base 128 varint, and package binary's Uvarint. It must
// be minimal: a length has one encoding.
const Varint = -1

// maxOffset bounds the bytes before a length field.
const maxOffset = 64 << 10

// Length splits frames that begin with their length. The zero value is a
// big-endian length of 4 bytes, which counts the bytes after it and is not part
// of the frame.
//
// In general there are Offset bytes, the length field, and a body of as many
// bytes as the field says plus Adjust:
//
//	wire                        codec
//	0000 0005 hello             Length{}
//	0007 hello                  Length{Width: 2, Adjust: -2}
//	cafe 05 hello               Length{Width: 1, Offset: 2}
//	05 cafe hello               Length{Width: 1, Adjust: 2}
//	ca 0005 fe hello            Length{Width: 2, Offset: 1, Adjust: 1}
//
// In the last two the frame is what follows the field, with the cafe or fe that
// the length does not count. Strip and KeepHeader make the frame begin
// elsewhere.
//
// A length that is over Max is ErrTooLong as soon as it is there, before a byte
// of the body is. One that cannot be right is ErrLength. A stream that ends
// within a frame is io.ErrUnexpectedEOF.
type Length struct {
	// Width is how many bytes the length has: 1, 2, 3, 4, 8, or Varint. Zero
	// means 4. It is unsigned.
	Width int

	// LittleEndian says that the lowest byte of the length comes first.
	LittleEndian bool

	// Offset is how many bytes stand before the length, up to 64 KiB. The
	// length does not count them, unless Adjust says so.
	Offset int

	// Adjust is added to the length to get the bytes that follow the field:
	// less than zero where the length counts the header too, more where
	// something follows that it does not count.
	Adjust int

	// Strip is how many bytes are taken off the frame's front. Zero means the
	// header: Offset and the length.
	Strip int

	// KeepHeader leaves all in the frame. Strip must be zero then.
	KeepHeader bool

	// Max is the most bytes that may follow the length field. Zero or less
	// means DefaultMax.
	Max int
}

// Validate implements Validator.
func (l Length) Validate() error {
	end := l.Offset + l.width()
	switch {
	case l.Width < Varint || l.Width > 8 || l.Width > 4 && l.Width < 8:
		return fmt.Errorf("%w: a length of %d bytes", ErrConfig, l.Width)
	case l.Offset < 0 || l.Offset > maxOffset:
		return fmt.Errorf("%w: a length at offset %d", ErrConfig, l.Offset)
	case l.Adjust > MaxMax || l.Adjust < -MaxMax || l.Adjust < 0 && uint64(-l.Adjust) > l.most():
		return fmt.Errorf("%w: a length of %d bytes adjusted by %d", ErrConfig, l.Width, l.Adjust)
	case l.KeepHeader && l.Strip != 0:
		return fmt.Errorf("%w: KeepHeader and %d bytes to strip", ErrConfig, l.Strip)
	case l.Strip < 0 || l.Strip-limit(l.Max) > end:
		return fmt.Errorf("%w: %d bytes to strip", ErrConfig, l.Strip)
	case l.Strip > l.Offset && (l.Strip < end || l.Width == Varint):
		return fmt.Errorf("%w: %d bytes to strip end in the length", ErrConfig, l.Strip)
	}
	return nil
}

// Split finds the first frame. It reads the header alone until all is there.
func (l Length) Split(buf []byte, _ int, _ bool) (frame []byte, n int, err error) {
	head, total, err := l.measure(buf)
	if err != nil || head == 0 {
		return nil, 0, err
	}
	strip := l.strip(head)
	if total < uint64(strip) {
		return nil, 0, fmt.Errorf("%w: a frame of %d bytes, %d of them to strip", ErrLength, total, strip)
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

// measure returns where the first frame's length field ends and how long the
// frame is with all that stands before it, whatever Max is; or 0 for head while
// the field is not all there.
func (l *Length) measure(buf []byte) (head int, total uint64, err error) {
	if err := l.Validate(); err != nil {
		return 0, 0, err
	}
	length, head, err := l.field(buf)
	if err != nil || head == 0 {
		return 0, 0, err
	}
	total = length + uint64(l.Adjust) // modulo 1<<64, as the check knows
	if l.Adjust < 0 && total > length {
		return 0, 0, fmt.Errorf("%w: %d, and it includes %d", ErrLength, length, -l.Adjust)
	}
	if l.Adjust > 0 && total < length || total+uint64(head) < total {
		return 0, 0, fmt.Errorf("%w: %d runs over", ErrLength, length)
	}
	return head, total + uint64(head), nil
}

// field reads the length field, and returns where it ends: 0 while it is not
// all there.
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
		return 0, 0, fmt.Errorf("%w: a varint of more than 64 bits", ErrLength)
	case n > 1 && field[n-1] == 0:
		return 0, 0, fmt.Errorf("%w: %d as a varint of %d bytes", ErrLength, length, n)
	}
	return length, l.Offset + n, nil
}

// width returns the bytes of the length field, the fewest if that varies.
func (l *Length) width() int {
	switch l.Width {
	case 0:
		return 4
	case Varint:
		return 1
	}
	return l.Width
}

// most returns the largest length that there can be.
func (l *Length) most() uint64 {
	if l.Width == Varint {
		return math.MaxUint64
	}
	return math.MaxUint64 >> (64 - 8*l.width())
}

// strip returns how many bytes go off the front of a frame whose header has
// head bytes.
func (l *Length) strip(head int) int {
	if l.Strip == 0 && !l.KeepHeader {
		return head
	}
	return l.Strip
}
