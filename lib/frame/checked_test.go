package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"wireline/lib/frame"
)

// The check values are those of https://reveng.sourceforge.io/crc-catalogue/.
func TestChecksums(t *testing.T) {
	for _, test := range []struct {
		sum  frame.Checksum
		text string
		want uint32
		size int
		name string
	}{
		{frame.NoChecksum, "123456789", 0, 0, "none"},
		{frame.CRC16Modbus, "123456789", 0x4b37, 2, "CRC-16/MODBUS"},
		{frame.CRC16Modbus, "", 0xffff, 2, "CRC-16/MODBUS"},
		{frame.CRC16CCITTFalse, "123456789", 0x29b1, 2, "CRC-16/CCITT-FALSE"},
		{frame.CRC16CCITTFalse, "", 0xffff, 2, "CRC-16/CCITT-FALSE"},
		{frame.CRC32IEEE, "123456789", 0xcbf43926, 4, "CRC-32"},
		{frame.CRC32IEEE, "", 0, 4, "CRC-32"},
		// MODBUS over serial line, V1.02, 6.2.2: the exception answer 02 07 has 41 12, the
		// low byte first.
		{frame.CRC16Modbus, "\x02\x07", 0x1241, 2, "CRC-16/MODBUS"},
	} {
		if got := test.sum.Sum([]byte(test.text)); got != test.want || test.sum.Size() != test.size || test.sum.String() != test.name {
			t.Errorf("%s of %q is %#x in %d bytes, want %s, %#x in %d", test.sum, test.text, got, test.sum.Size(), test.name, test.want, test.size)
		}
	}
}

// bitwise computes a CRC of 16 bits as its definition says, bit by bit.
func bitwise(p []byte, poly uint16, mirrored bool) uint32 {
	crc := uint16(0xffff)
	for _, b := range p {
		for i := range 8 {
			bit := uint16(b) >> (7 - i) & 1
			if mirrored {
				bit = uint16(b) >> i & 1
			}
			top := crc >> 15
			crc <<= 1
			if top != bit {
				crc ^= poly
			}
		}
	}
	if mirrored {
		var back uint16
		for i := range 16 {
			back |= crc >> i & 1 << (15 - i)
		}
		crc = back
	}
	return uint32(crc)
}

// trailer is the model of a checksum on the wire.
func trailer(p []byte, sum frame.Checksum, little bool) []byte {
	var order binary.AppendByteOrder = binary.BigEndian
	if little {
		order = binary.LittleEndian
	}
	switch sum {
	case frame.CRC16Modbus:
		return order.AppendUint16(nil, uint16(bitwise(p, 0x8005, true)))
	case frame.CRC16CCITTFalse:
		return order.AppendUint16(nil, uint16(bitwise(p, 0x1021, false)))
	case frame.CRC32IEEE:
		return order.AppendUint32(nil, crc32.Checksum(p, crc32.MakeTable(crc32.IEEE)))
	}
	return nil
}

// checked is the model of Checked, for valid settings.
func checked(data []byte, c frame.Checked) (want []string) {
	for len(data) > 0 {
		inner, ok := bytes.CutPrefix(data, c.Magic)
		if !ok {
			return append(want, broken)
		}
		what, total := nextPrefixed(inner, c.Length)
		end := len(c.Magic)
		if total != nil && total.IsInt64() {
			end += int(min(total.Int64(), int64(len(data)+1)))
		} else if total != nil {
			end = len(data) + 1
		}
		size := len(trailer(nil, c.Checksum, c.LittleEndian))
		switch {
		case what == tooLong:
			want = append(want, tooLong)
			if end+size > len(data) {
				return want
			}
		case what == broken, end+size > len(data),
			!bytes.Equal(data[end:end+size], trailer(data[c.Skip:end], c.Checksum, c.LittleEndian)):
			return append(want, broken)
		default:
			want = append(want, what)
		}
		data = data[end+size:]
	}
	return want
}

var device = frame.Checked{Magic: []byte("~~"), Length: frame.Length{Width: 2}, Checksum: frame.CRC16Modbus, Skip: 2, LittleEndian: true}

// What is wrong is told apart, and as soon as it can be known.
func TestCheckedErrors(t *testing.T) {
	good := string(must(device.Append(nil, []byte("hello"))))
	for name, test := range map[string]struct {
		in   string
		want error
	}{
		"whole":                       {good, nil},
		"without the last byte":       {good[:len(good)-1], nil},
		"half a marker":               {"~", nil},
		"marker":                      {"~~", nil},
		"wrong marker":                {"~a", frame.ErrMagic},
		"wrong first byte":            {"a", frame.ErrMagic},
		"wrong checksum":              {good[:len(good)-1] + string(good[len(good)-1]^1), frame.ErrChecksum},
		"checksum in the wrong order": {good[:len(good)-2] + good[len(good)-1:] + good[len(good)-2:len(good)-1], frame.ErrChecksum},
		"changed length":              {strings.Replace(good, "\x05", "\x04", 1), frame.ErrChecksum},
		"changed body":                {strings.Replace(good, "l", "L", 1), frame.ErrChecksum},
		"too long":                    {"~~\xff\xff", nil},
	} {
		f, n, err := device.Split([]byte(test.in), 0, false)
		if !errors.Is(err, test.want) || (f != nil) != (test.in == good) || (n > 0) != (test.in == good) {
			t.Errorf("%s: %q, %d, %v; want error %v", name, f, n, err, test.want)
		}
	}
	small := device
	small.Length.Max = 4
	if _, _, err := small.Split([]byte(good[:4]), 0, false); !errors.Is(err, frame.ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// What the length counts, and what the checksum covers, vary.
func TestCheckedLayouts(t *testing.T) {
	for _, test := range []struct {
		codec frame.Checked
		want  string
	}{
		{frame.Checked{}, "\x00\x00\x00\x09123456789"},
		{frame.Checked{Length: frame.Length{Width: 1}, Checksum: frame.CRC16Modbus, Skip: 1}, "\x09123456789\x4b\x37"},
		{frame.Checked{Length: frame.Length{Width: 1}, Checksum: frame.CRC16Modbus, Skip: 1, LittleEndian: true}, "\x09123456789\x37\x4b"},
		{frame.Checked{Magic: []byte("~~"), Length: frame.Length{Width: 1}, Checksum: frame.CRC32IEEE, Skip: 3}, "~~\x09123456789\xcb\xf4\x39\x26"},
		// The length counts the checksum.
		{frame.Checked{Magic: []byte("~"), Length: frame.Length{Width: 1, Adjust: -2}, Checksum: frame.CRC16CCITTFalse, Skip: 2}, "~\x0b123456789\x29\xb1"},
	} {
		got, err := test.codec.Append([]byte("before"), []byte("123456789"))
		if err != nil || string(got) != "before"+test.want {
			t.Errorf("%+v: %q, %v; want %q", test.codec, got, err, test.want)
		}
	}
}

// Size is known as soon as the header has arrived.
func TestCheckedSize(t *testing.T) {
	whole := must(device.Append(nil, make([]byte, 1000)))
	for n := range whole {
		want := 0
		if n >= 4 {
			want = len(whole)
		}
		if got := device.Size(whole[:n]); got != want {
			t.Fatalf("size of %d bytes is %d, want %d", n, got, want)
		}
	}
}

func FuzzChecked(f *testing.F) {
	seed := func(c frame.Checked, data []byte) {
		l := c.Length
		f.Add(data, uint64(3), uint16(l.Max), c.Magic, uint8(c.Checksum), int8(c.Skip), c.LittleEndian,
			int8(l.Width), uint8(l.Offset), int16(l.Adjust), uint8(l.Strip), l.LittleEndian, l.KeepHeader)
	}
	for _, test := range codecs {
		if c, ok := test.codec.(frame.Checked); ok {
			stream := must(c.Append(must(c.Append(nil, []byte(test.payload))), []byte(test.payload)))
			seed(c, stream)
			stream[len(stream)-1]++
			seed(c, stream)
			c.Length.Max = 3
			seed(c, stream)
		}
	}
	seed(frame.Checked{Length: frame.Length{Width: 8}, Checksum: frame.CRC32IEEE}, bytes.Repeat([]byte{0xff}, 40))
	seed(frame.Checked{Length: frame.Length{Width: 8}, Checksum: frame.CRC32IEEE}, append(binary.BigEndian.AppendUint64(nil, 1<<64-9), "more than that"...))
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16, magic []byte, sum uint8, skip int8, sumLittle bool,
		width int8, offset uint8, adjust int16, strip uint8, little, keep bool) {
		c := frame.Checked{
			Magic: magic, Checksum: frame.Checksum(sum % 5), Skip: int(skip), LittleEndian: sumLittle,
			Length: frame.Length{Width: int(width), Offset: int(offset), Adjust: int(adjust), Strip: int(strip),
				LittleEndian: little, KeepHeader: keep, Max: int(max)},
		}
		checkChunking(t, c, data, cuts)
		checkRoundTrip(t, c, data, false)
		if c.Validate() == nil {
			checkRecovery(t, c, data, cuts, checked(data, c))
		}
	})
}

func BenchmarkChecksum(b *testing.B) {
	p := make([]byte, 1024)
	for _, sum := range []frame.Checksum{frame.CRC16Modbus, frame.CRC16CCITTFalse, frame.CRC32IEEE} {
		b.Run(sum.String(), func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				sum.Sum(p)
			}
		})
	}
}
