package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"wireline/lib/frame"
)

// Invalid lengths are refused, and the largest valid ones are accepted.
func TestLengthLimits(t *testing.T) {
	ff := strings.Repeat("\xff", 8)
	for _, test := range []struct {
		codec frame.Codec
		in    string
		want  error
	}{
		{frame.Length{Max: 3}, "\x00\x00\x00\x03", nil},
		{frame.Length{Max: 3}, "\x00\x00\x00\x04", frame.ErrTooLong},
		{frame.Length{}, "\x00\x01\x00\x00", nil},
		{frame.Length{}, "\x00\x01\x00\x01", frame.ErrTooLong},
		{frame.Length{}, "\xff\xff\xff\xff", frame.ErrTooLong},
		{frame.Length{}, "\xff\xff\xff", nil},
		{frame.Length{LittleEndian: true}, "\x03\x00\x00\x00", nil},
		{frame.Length{LittleEndian: true}, "\x00\x00\x00\x03", frame.ErrTooLong},
		{frame.Length{Width: 8}, "\x80\x00\x00\x00\x00\x00\x00\x00", frame.ErrTooLong},
		{frame.Length{Width: 8}, ff, frame.ErrLength},
		{frame.Length{Width: 8, KeepHeader: true}, ff, frame.ErrLength},
		{frame.Length{Width: 8, Adjust: 1}, ff, frame.ErrLength},
		{frame.Length{Width: 8, Adjust: -8}, ff, frame.ErrTooLong},
		{frame.Length{Width: 2, Adjust: -2}, "\x00\x02", nil},
		{frame.Length{Width: 2, Adjust: -2}, "\x00\x01", frame.ErrLength},
		{frame.Length{Width: 1, Adjust: -8}, "\x01", frame.ErrLength},
		{frame.Length{Width: 1, Strip: 3}, "\x02", nil},
		{frame.Length{Width: 1, Strip: 3}, "\x01", frame.ErrLength},
		{frame.Length{Width: 1, Offset: 2, Max: 1}, "\xff\xff", nil},
		{frame.Length{Width: frame.Varint, Max: 300}, "\xac\x02", nil},
		{frame.Length{Width: frame.Varint, Max: 299}, "\xac\x02", frame.ErrTooLong},
		{frame.Length{Width: frame.Varint}, "\x83\x00", frame.ErrLength},
		{frame.Length{Width: frame.Varint}, "\x80\x80\x00", frame.ErrLength},
		{frame.Length{Width: frame.Varint}, strings.Repeat("\x80", 9) + "\x02", frame.ErrLength},
		{frame.Length{Width: frame.Varint}, strings.Repeat("\x80", 11), frame.ErrLength},
		{frame.Length{Width: frame.Varint}, strings.Repeat("\xff", 9) + "\x01", frame.ErrLength},
		{frame.Length{Width: frame.Varint}, strings.Repeat("\x80", 9) + "\x01", frame.ErrTooLong},
		{frame.Netstring{Max: 3}, "3:", nil},
		{frame.Netstring{Max: 3}, "4:", frame.ErrTooLong},
		{frame.Netstring{}, "65536:", nil},
		{frame.Netstring{}, "65537:", frame.ErrTooLong},
		{frame.Netstring{}, "9999999999999999999:", frame.ErrTooLong},
		{frame.Netstring{}, "10000000000000000000", frame.ErrLength},
		{frame.Netstring{}, "00", frame.ErrLength},
		{frame.Netstring{}, "-1", frame.ErrLength},
		{frame.Netstring{}, ":", frame.ErrLength},
		{frame.Netstring{}, "1:a;", frame.ErrLength},
	} {
		f, n, err := test.codec.Split([]byte(test.in), 0, false)
		if !errors.Is(err, test.want) || len(f) > 0 || err != nil && n != 0 {
			t.Errorf("%T%+v: Split(%q) = %q, %d, %v, want error %v", test.codec, test.codec, test.in, f, n, err, test.want)
		}
	}
}

func TestLengthAppend(t *testing.T) {
	for _, test := range []struct {
		codec   frame.Codec
		payload string
		want    string
		err     error
	}{
		{frame.Length{}, "", "\x00\x00\x00\x00", nil},
		{frame.Length{Width: 1, Offset: 2}, "abc", "\x00\x00\x03abc", nil},
		{frame.Length{Width: 1, Adjust: -3, Offset: 2}, "abc", "\x00\x00\x06abc", nil},
		{frame.Length{Width: 1, Adjust: 2}, "\xca\xfeabc", "\x03\xca\xfeabc", nil},
		{frame.Length{Width: 1, Adjust: 2}, "a", "", frame.ErrLength},
		{frame.Length{Width: 1, Adjust: 2, Strip: 3}, "abc", "\x03\x00\x00abc", nil},
		{frame.Length{Width: 1}, strings.Repeat("x", 256), "", frame.ErrTooLong},
		{frame.Length{Width: 1, Adjust: -1}, strings.Repeat("x", 255), "", frame.ErrTooLong},
		{frame.Length{Width: 1, KeepHeader: true}, "\x03abc", "\x03abc", nil},
		{frame.Length{Width: 1, KeepHeader: true}, "\x02abc", "", frame.ErrLength},
		{frame.Length{Width: 1, KeepHeader: true}, "\x04abc", "", frame.ErrLength},
		{frame.Length{Width: 1, KeepHeader: true}, "", "", frame.ErrLength},
		{frame.Length{Width: 1, KeepHeader: true, Max: 2}, "\x03abc", "", frame.ErrTooLong},
		{frame.Length{Width: 1, Adjust: -2, KeepHeader: true}, "\x01", "", frame.ErrLength},
		{frame.Length{Width: 1, Offset: 3, Strip: 2}, "x\x03abc", "\x00\x00x\x03abc", nil},
		{frame.Length{Width: frame.Varint, Max: 300}, strings.Repeat("x", 300), "\xac\x02" + strings.Repeat("x", 300), nil},
		{frame.Fixed{Len: 3}, "abc", "abc", nil},
		{frame.Fixed{Len: 3}, "abcd", "", frame.ErrTooLong},
		{frame.Fixed{Len: 3}, "ab", "", frame.ErrLength},
		{frame.Netstring{Max: 3}, "abc", "3:abc,", nil},
		{frame.Netstring{Max: 3}, "abcd", "", frame.ErrTooLong},
		{frame.Netstring{}, "", "0:,", nil},
		{frame.JSONLines{}, "{\"a\": 1}", "{\"a\": 1}\n", nil},
		{frame.JSONLines{}, "{", "", frame.ErrJSON},
		{frame.JSONLines{}, "", "", frame.ErrJSON},
		{frame.JSONLines{}, "1 2", "", frame.ErrJSON},
		{frame.JSONLines{}, "[1,\n2]", "", frame.ErrDelimiter},
		{frame.JSONLines{Max: 2}, "[1]", "", frame.ErrTooLong},
	} {
		dst, err := test.codec.Append([]byte("before"), []byte(test.payload))
		if !errors.Is(err, test.err) || string(dst) != "before"+test.want {
			t.Errorf("%T%+v.Append(%.20q) = %.40q, %v", test.codec, test.codec, test.payload, dst, err)
		}
		checkWrap(t, test.codec, []byte(test.payload))
	}
}

// A length field can encode every length up to its largest, and no longer one.
func TestWidths(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 1<<24)
	var stream []byte // used again and again: a new one of 16 MB takes long
	for _, width := range []int{0, 1, 2, 3, 4, 8, frame.Varint} {
		for _, little := range []bool{false, true} {
			for _, n := range []int{0, 1, 127, 128, 255, 256, 1<<16 - 1, 1 << 16, 1<<24 - 1, 1 << 24} {
				c := frame.Length{Width: width, LittleEndian: little, Max: 1 << 25}
				payload := long[:n]
				var err error
				stream, err = c.Append(stream[:0], payload)
				if fits := width < 1 || width > 3 || n < 1<<(8*width); !fits {
					if !errors.Is(err, frame.ErrTooLong) {
						t.Errorf("%+v: %d bytes: %v", c, n, err)
					}
					continue
				}
				f, taken, err := c.Split(stream, 0, false)
				if !bytes.Equal(f, payload) || taken != len(stream) || err != nil || c.Size(stream[:min(12, len(stream))]) != len(stream) {
					t.Errorf("%+v: %d bytes: %d of %d, %v", c, n, len(f), taken, err)
				}
			}
		}
	}
}

func ExampleLength_layouts() {
	for _, codec := range []frame.Length{
		{Width: 2},
		{Width: 2, Adjust: -2},
		{Width: 1, Adjust: 2},
		{Width: frame.Varint},
	} {
		b, err := codec.Append(nil, []byte("hello"))
		fmt.Printf("%q %v\n", b, err)
	}
	// Output:
	// "\x00\x05hello" <nil>
	// "\x00\ahello" <nil>
	// "\x03hello" <nil>
	// "\x05hello" <nil>
}
