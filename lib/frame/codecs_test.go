package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
	"wireline/lib/frame"
)

// codecs has every codec, most of them with several settings, each with a payload that
// it can encode.
var codecs = []struct {
	codec   frame.Codec
	payload string
}{
	{frame.Line{}, "a line"},
	{frame.Line{CRLF: true}, "a line"},
	{frame.Line{KeepEnd: true}, "a line\r\n"},
	{frame.Line{KeepEnd: true}, "a line"},
	{frame.Line{Strict: true}, "a line"},
	{frame.Line{Strict: true, KeepEnd: true}, "a line\r\n"},
	{frame.Delimiter{Delim: []byte("--")}, "a frame"},
	{frame.Delimiter{Delim: []byte("\r\n"), Or: bytesOf("\n", "\r")}, "a frame"},
	{frame.Delimiter{Delim: []byte("\r\n"), Or: bytesOf("\n"), KeepEnd: true}, "a frame\n"},
	{frame.Fixed{Len: 7}, "a frame"},
	{frame.Length{}, "a frame"},
	{frame.Length{Width: 1}, "a frame"},
	{frame.Length{Width: 2, LittleEndian: true, Adjust: -2}, "a frame"},
	{frame.Length{Width: 3, Offset: 2, KeepHeader: true}, "\xca\xfe\x00\x00\x07a frame"},
	{frame.Length{Width: 8, Offset: 2, Strip: 1}, "\xfe\x00\x00\x00\x00\x00\x00\x00\x07a frame"},
	{frame.Length{Width: 2, Strip: 3}, "a frame"},
	{frame.Length{Width: frame.Varint}, "a frame"},
	{frame.Length{Width: frame.Varint, Offset: 1, Adjust: 3}, "a frame"},
	{frame.Checked{}, "a frame"},
	{device, "a frame"},
	{frame.Checked{Magic: []byte{0xaa}, Length: frame.Length{Width: 1, Offset: 1, Adjust: -4, Strip: 0, KeepHeader: true}, Checksum: frame.CRC32IEEE}, "\x01\x0ba frame"},
	{frame.Checked{Magic: []byte("~"), Length: frame.Length{Width: frame.Varint, Adjust: 2}, Checksum: frame.CRC16CCITTFalse, Skip: 1}, "a frame"},
	{frame.Netstring{}, "a frame"},
	{frame.JSONLines{}, `{"a":"frame"}`},
	{frame.DotBlock{}, "a\r\n\r\nframe\r\n"},
	{resp{}, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"},
	{memcached{}, "set k 0 0 5\r\nhello\r\n"},
}

func bytesOf(list ...string) (out [][]byte) {
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, test := range codecs {
		var stream []byte
		var want []string
		for range 3 {
			var err error
			if stream, err = test.codec.Append(stream, []byte(test.payload)); err != nil {
				t.Fatalf("%+v: %v", test.codec, err)
			}
			want = append(want, test.payload)
		}
		if l, ok := test.codec.(frame.Line); ok && l.KeepEnd {
			continue // KeepEnd: the frame includes its end; FuzzLine covers that
		}
		for size := 1; size <= len(stream); size++ {
			if diff := cmp.Diff(outcome{Frames: want}, split(test.codec, inPieces(stream, size)...)); diff != "" {
				t.Errorf("%T%+v in pieces of %d bytes (-want +got):\n%s", test.codec, test.codec, size, diff)
			}
		}
	}
}

func inPieces(data []byte, size int) (pieces [][]byte) {
	for ; len(data) > size; data = data[size:] {
		pieces = append(pieces, data[:size])
	}
	return append(pieces, data)
}

// An application may append to a frame without overwriting the next one.
func TestFramesHaveNoSpareCapacity(t *testing.T) {
	for _, test := range codecs {
		stream, _ := test.codec.Append(nil, []byte(test.payload))
		f, _, err := test.codec.Split(append(stream, stream...), 0, false)
		if err != nil || cap(f) != len(f) {
			t.Errorf("%T%+v: a frame of %d bytes with room for %d, error %v", test.codec, test.codec, len(f), cap(f), err)
		}
	}
}

// checkWrap checks a property of every Wrapper: it encodes as Append does, and leaves
// head unchanged on error.
func checkWrap(t *testing.T, c frame.Codec, payload []byte) {
	t.Helper()
	w, ok := c.(frame.Wrapper)
	if !ok {
		return
	}
	want, wantErr := c.Append([]byte("before"), payload)
	before := bytes.Clone(payload)
	head, tail, err := w.Wrap([]byte("before"), payload)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) || err != nil && (string(head) != "before" || len(tail) > 0) {
		t.Errorf("%T%+v: Wrap(%q) = %q, %q, %v, but Append returned %v", c, c, payload, head, tail, err, wantErr)
	}
	if got := bytes.Join([][]byte{head, payload, tail}, nil); err == nil && !bytes.Equal(got, want) {
		t.Errorf("%T%+v: Wrap(%q) encodes %q, Append %q", c, c, payload, got, want)
	}
	if !bytes.Equal(before, payload) {
		t.Errorf("%T%+v: Wrap changed %q to %q", c, c, before, payload)
	}
}

func TestWrapIsAppend(t *testing.T) {
	payloads := []string{"", "\n", "a\r", "a-", "a--b", "1", `{"a":1}`, "[1,\n2]", "a frame", "a longer frame\n"}
	for _, test := range codecs {
		checkWrap(t, test.codec, []byte(test.payload))
		for _, payload := range payloads {
			checkWrap(t, test.codec, []byte(payload))
		}
	}
}

// DotBlock is no Wrapper: dots are added within the payload. Nor is Checked: the bytes after the
// payload are different each time, and would have to be allocated.
func TestEveryCodecIsAWrapper(t *testing.T) {
	for _, c := range []frame.Codec{frame.Line{}, frame.Delimiter{}, frame.Fixed{}, frame.Length{}, frame.Netstring{}, frame.JSONLines{}} {
		if _, ok := c.(frame.Wrapper); !ok {
			t.Errorf("%T is not a Wrapper", c)
		}
		if _, ok := c.(frame.Discarder); !ok && c != (frame.Codec)(frame.Fixed{}) {
			t.Errorf("%T is not a Discarder", c)
		}
	}
}

// Append gives the same result with and without spare capacity in dst.
func TestAppendToNothing(t *testing.T) {
	for _, test := range codecs {
		a, errA := test.codec.Append(nil, []byte(test.payload))
		b, errB := test.codec.Append(make([]byte, 0, 1024), []byte(test.payload))
		if !bytes.Equal(a, b) || errA != nil || errB != nil {
			t.Errorf("%T%+v: %q, %v and %q, %v", test.codec, test.codec, a, errA, b, errB)
		}
	}
}

// Splitting and encoding frames does not allocate.
func TestNoAllocations(t *testing.T) {
	if testutil.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, test := range codecs {
		payload := []byte(test.payload)
		stream, err := test.codec.Append(nil, payload)
		if err != nil {
			t.Fatal(err)
		}
		var in frame.Buffer
		in.Space()
		out := make([]byte, 0, 1024)
		read := testing.AllocsPerRun(100, func() {
			for range 2 {
				in.Filled(copy(in.Space(), stream[:len(stream)-1]))
				in.Next(test.codec, false)
				in.Filled(copy(in.Space(), stream[len(stream)-1:]))
				if _, ok, err := in.Next(test.codec, false); !ok || err != nil {
					t.Fatalf("%T%+v: ok %v, error %v", test.codec, test.codec, ok, err)
				}
			}
		})
		written := testing.AllocsPerRun(100, func() { out, _ = test.codec.Append(out[:0], payload) })
		wrapped := testing.AllocsPerRun(100, func() {
			if w, ok := test.codec.(frame.Wrapper); ok {
				out, _, _ = w.Wrap(out[:0], payload)
			}
		})
		if read+written+wrapped != 0 {
			t.Errorf("%T%+v: %v allocations for splitting, %v for Append, %v for Wrap", test.codec, test.codec, read, written, wrapped)
		}
	}
}

func TestInvalidSettings(t *testing.T) {
	for _, c := range []frame.Codec{
		frame.Delimiter{},
		frame.Delimiter{Or: bytesOf("\n")},
		frame.Delimiter{Delim: []byte("\n"), Or: bytesOf("")},
		frame.Delimiter{Delim: []byte("\r"), Or: bytesOf("\r\n")},
		frame.Fixed{},
		frame.Fixed{Len: -1},
		frame.Fixed{Len: frame.MaxMax + 1},
		frame.Length{Width: 5},
		frame.Length{Width: 6},
		frame.Length{Width: 7},
		frame.Length{Width: 9},
		frame.Length{Width: -2},
		frame.Length{Offset: -1},
		frame.Length{Offset: 1 << 20},
		frame.Length{Adjust: frame.MaxMax + 1},
		frame.Length{Adjust: -frame.MaxMax - 1},
		frame.Length{Width: 1, Adjust: -256},
		frame.Length{Strip: -1},
		frame.Length{Strip: 3},
		frame.Length{Strip: 4, KeepHeader: true},
		frame.Length{Strip: 1 << 20},
		frame.Length{Offset: 2, Strip: 5},
		frame.Length{Width: frame.Varint, Strip: 1},
		frame.Checked{Length: frame.Length{Width: 5}},
		frame.Checked{Magic: make([]byte, 65)},
		frame.Checked{Checksum: frame.CRC32IEEE + 1},
		frame.Checked{Skip: -1},
		frame.Checked{Magic: []byte("~~"), Skip: 7},
	} {
		err := c.(frame.Validator).Validate()
		if !errors.Is(err, frame.ErrConfig) {
			t.Errorf("%T%+v: Validate returned %v, want ErrConfig", c, c, err)
		}
		if _, n, err := c.Split([]byte("\x00\x01\x02\n"), 0, true); n != 0 || !errors.Is(err, frame.ErrConfig) {
			t.Errorf("%T%+v: Split took %d bytes, error %v, want ErrConfig", c, c, n, err)
		}
		if out, err := c.Append(nil, []byte("a")); out != nil || !errors.Is(err, frame.ErrConfig) {
			t.Errorf("%T%+v: Append returned %q, %v, want ErrConfig", c, c, out, err)
		}
		checkWrap(t, c, []byte("a"))
		if s, ok := c.(frame.Sizer); ok {
			s.Size([]byte("\x00\x01")) // must not panic
		}
		if d, ok := c.(frame.Discarder); ok {
			d.Discard([]byte("\x00\x01"), 0, false)
		}
	}
}

func TestValidSettings(t *testing.T) {
	for _, test := range codecs {
		if v, ok := test.codec.(frame.Validator); ok && v.Validate() != nil {
			t.Errorf("%T%+v: %v", test.codec, test.codec, v.Validate())
		}
	}
}

func FuzzDelimiters(f *testing.F) {
	for _, test := range splitTests {
		f.Add([]byte(test.in), []byte("\r\n"), []byte("\n"), []byte("-"), uint64(3), uint16(3), false)
	}
	f.Add([]byte("abcabbc"), []byte("b"), []byte("abc"), []byte("bc"), uint64(1), uint16(0), true)
	f.Fuzz(func(t *testing.T, data, a, b, c []byte, cuts uint64, max uint16, keep bool) {
		d := frame.Delimiter{Delim: a, Or: [][]byte{b, c}, Max: int(max), KeepEnd: keep}
		checkChunking(t, d, data, cuts)
		checkWrap(t, d, data)
		if d.Validate() != nil {
			return
		}
		checkRoundTrip(t, d, data, keep)
		checkRecovery(t, d, data, cuts, delimited(data, [][]byte{a, b, c}, int(max), keep))
	})
}

func FuzzDotBlock(f *testing.F) {
	for _, test := range splitTests {
		f.Add([]byte(test.in), uint64(3), uint16(3))
		f.Add([]byte(test.in), uint64(4), uint16(0))
	}
	for _, s := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\n", "..\r\n", ".x\r\n"} {
		f.Add([]byte("ab"+s+s+"QUIT\r\n.\r\n"), uint64(1), uint16(6))
		f.Add([]byte(s+"\r\n.\r\n"+s), uint64(2), uint16(100))
		f.Add([]byte(strings.Repeat("..\r\n", 100)+s), uint64(5), uint16(299))
	}
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16) {
		c := frame.DotBlock{Max: int(max)}
		before := bytes.Clone(data)
		checkChunking(t, c, data, cuts)
		checkRoundTrip(t, c, data, true)
		checkRecovery(t, c, data, cuts, dotBlocks(data, int(max)))
		if !bytes.Equal(before, data) {
			t.Errorf("Split or Append changed %q to %q", before, data)
		}
	})
}

func FuzzFixed(f *testing.F) {
	f.Add([]byte("abcdef"), uint64(3), 3)
	f.Add([]byte("abcdef"), uint64(3), 0)
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, length int) {
		c := frame.Fixed{Len: length}
		checkChunking(t, c, data, cuts)
		checkWrap(t, c, data)
		checkRoundTrip(t, c, data, false)
	})
}

func FuzzLength(f *testing.F) {
	for _, test := range codecs {
		stream, _ := test.codec.Append(nil, []byte(test.payload))
		if l, ok := test.codec.(frame.Length); ok {
			f.Add(stream, uint64(3), uint16(0), int8(l.Width), uint8(l.Offset), int16(l.Adjust), uint8(l.Strip), l.LittleEndian, l.KeepHeader)
		}
	}
	f.Add(binary.BigEndian.AppendUint64(nil, 1<<63), uint64(1), uint16(9), int8(8), uint8(0), int16(-8), uint8(0), false, false)
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16, width int8, offset uint8, adjust int16, strip uint8, little, keep bool) {
		c := frame.Length{Width: int(width), Offset: int(offset), Adjust: int(adjust), Strip: int(strip),
			LittleEndian: little, KeepHeader: keep, Max: int(max)}
		checkChunking(t, c, data, cuts)
		checkWrap(t, c, data)
		checkRoundTrip(t, c, data, false)
		if c.Validate() == nil {
			checkRecovery(t, c, data, cuts, prefixed(data, c))
		}
	})
}

func FuzzNetstring(f *testing.F) {
	for _, s := range []string{"5:hello,", "0:,", "01:a,", "12:hello world!,", "3:abc;", "9999999999999999999:", "99999999999999999999:"} {
		f.Add([]byte(s), uint64(3), uint16(0))
		f.Add([]byte(s+"1:a,"), uint64(3), uint16(4))
	}
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16) {
		c := frame.Netstring{Max: int(max)}
		checkChunking(t, c, data, cuts)
		checkWrap(t, c, data)
		checkRoundTrip(t, c, data, false)
		checkRecovery(t, c, data, cuts, netstrings(data, int(max)))
	})
}

func FuzzJSONLines(f *testing.F) {
	for _, s := range []string{"{}\n[1]\r\n \t\r\n\n1", "\"a\\n\"\n", "{", " 1 \n", "nil\r"} {
		f.Add([]byte(s), uint64(3), uint16(0))
		f.Add([]byte(s), uint64(3), uint16(2))
	}
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16) {
		c := frame.JSONLines{Max: int(max)}
		checkChunking(t, c, data, cuts)
		checkWrap(t, c, data)
		checkRoundTrip(t, c, data, false)
		want := delimited(data, bytesOf("\n", "\r\n"), int(max), false)
		want = without(want, func(s string) bool { return len(bytes.Trim([]byte(s), " \t\r")) == 0 })
		checkRecovery(t, c, data, cuts, want)
	})
}
