package frame_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/lib/frame"
)

// outcome is the result of splitting a stream: its frames, and the error that ended it.
type outcome struct {
	Frames []string
	Err    string
}

// split feeds the pieces to a Buffer one after the other, then the end of the stream.
// It takes out every frame as soon as it is complete.
func split(c frame.Codec, pieces ...[]byte) outcome {
	var in frame.Buffer
	var out outcome
	drain := func(eof bool) bool {
		for {
			f, ok, err := in.Next(c, eof)
			if err != nil {
				out.Err = err.Error()
				return false
			}
			if !ok {
				return true
			}
			out.Frames = append(out.Frames, string(f))
		}
	}
	for _, piece := range pieces {
		for len(piece) > 0 {
			n := copy(in.Space(), piece)
			in.Filled(n)
			piece = piece[n:]
			if !drain(false) {
				return out
			}
		}
	}
	drain(true)
	return out
}

func bytewise(s string) [][]byte {
	pieces := make([][]byte, len(s))
	for i := range len(s) {
		pieces[i] = []byte{s[i]}
	}
	return pieces
}

var splitTests = []struct {
	name  string
	codec frame.Codec
	in    string
	want  outcome
}{
	{"empty stream", frame.Line{}, "", outcome{}},
	{"lines", frame.Line{}, "a\nbc\n", outcome{Frames: []string{"a", "bc"}}},
	{"both line ends", frame.Line{}, "a\r\nb\n\r\n\n", outcome{Frames: []string{"a", "b", "", ""}}},
	{"line ends kept", frame.Line{KeepEnd: true}, "a\r\nb\n\r\n\n", outcome{Frames: []string{"a\r\n", "b\n", "\r\n", "\n"}}},
	{"only one carriage return is removed", frame.Line{}, "a\r\r\n", outcome{Frames: []string{"a\r"}}},
	{"a carriage return inside stays", frame.Line{}, "a\rb\n", outcome{Frames: []string{"a\rb"}}},
	{"last line without an end", frame.Line{}, "a\nb", outcome{Frames: []string{"a", "b"}}},
	{"last line with half an end", frame.Line{}, "b\r", outcome{Frames: []string{"b\r"}}},
	{"maximum length", frame.Line{Max: 3}, "abc\nabc\r\nabc", outcome{Frames: []string{"abc", "abc", "abc"}}},
	{"too long", frame.Line{Max: 3}, "abc\nabcd\nabc\n", outcome{Frames: []string{"abc"}, Err: "frame too long (max 3 bytes)"}},
	{"too long before its end", frame.Line{Max: 3}, "abc\nabcd", outcome{Frames: []string{"abc"}, Err: "frame too long (max 3 bytes)"}},
	{"too long by a carriage return", frame.Line{Max: 3}, "abc\rx\n", outcome{Err: "frame too long (max 3 bytes)"}},
	{"too long by a last carriage return", frame.Line{Max: 3}, "abc\r", outcome{Err: "frame too long (max 3 bytes)"}},
	{"default maximum", frame.Line{}, strings.Repeat("x", 65536) + "\n" + strings.Repeat("x", 65537), outcome{Frames: []string{strings.Repeat("x", 65536)}, Err: "frame too long (max 65536 bytes)"}},
	{"binary junk", frame.Line{}, "\x00\xff\n\xc3\x28\n", outcome{Frames: []string{"\x00\xff", "\xc3\x28"}}},

	{"strict lines", frame.Line{Strict: true}, "a\r\n\r\nbc\r\n", outcome{Frames: []string{"a", "", "bc"}}},
	{"strict lines, ends kept", frame.Line{Strict: true, KeepEnd: true}, "a\r\n\r\n", outcome{Frames: []string{"a\r\n", "\r\n"}}},
	{"strict line, bare LF", frame.Line{Strict: true}, "a\r\nb\nc\r\n", outcome{Frames: []string{"a"}, Err: "line does not end in CRLF: bare LF"}},
	{"strict line, bare LF first", frame.Line{Strict: true}, "\n", outcome{Err: "line does not end in CRLF: bare LF"}},
	{"strict line, bare CR", frame.Line{Strict: true}, "a\r\nb\rc\r\n", outcome{Frames: []string{"a"}, Err: "line does not end in CRLF: bare CR"}},
	{"strict line, two CR", frame.Line{Strict: true}, "a\r\r\n", outcome{Err: "line does not end in CRLF: bare CR"}},
	{"strict line, LF CR", frame.Line{Strict: true}, "a\n\r\n", outcome{Err: "line does not end in CRLF: bare LF"}},
	{"strict line without an end", frame.Line{Strict: true}, "a\r\nb", outcome{Frames: []string{"a"}, Err: "unexpected EOF"}},
	{"strict line with half an end", frame.Line{Strict: true}, "b\r", outcome{Err: "unexpected EOF"}},
	{"strict line, maximum length", frame.Line{Strict: true, Max: 3}, "abc\r\nabc\r\n", outcome{Frames: []string{"abc", "abc"}}},
	{"strict line, too long", frame.Line{Strict: true, Max: 3}, "abc\r\nabcd\r\n", outcome{Frames: []string{"abc"}, Err: "frame too long (max 3 bytes)"}},
	{"strict line, too long before a bare LF", frame.Line{Strict: true, Max: 3}, "abcd\n", outcome{Err: "frame too long (max 3 bytes)"}},
	{"strict line, bare LF at the maximum", frame.Line{Strict: true, Max: 3}, "abc\n", outcome{Err: "line does not end in CRLF: bare LF"}},
	{"strict line, bare CR at the maximum", frame.Line{Strict: true, Max: 3}, "abc\rx", outcome{Err: "line does not end in CRLF: bare CR"}},
	{"strict line, NUL", frame.Line{Strict: true}, "a\x00\r\n", outcome{Frames: []string{"a\x00"}}},

	{"delimiter", frame.Delimiter{Delim: []byte("--")}, "a--b----c", outcome{Frames: []string{"a", "b", "", "c"}}},
	{"delimiter kept", frame.Delimiter{Delim: []byte("--"), KeepEnd: true}, "a--b", outcome{Frames: []string{"a--", "b"}}},
	{"delimiter with a false start", frame.Delimiter{Delim: []byte("aab")}, "aaab", outcome{Frames: []string{"a"}}},
	{"delimiter, maximum length", frame.Delimiter{Delim: []byte("--"), Max: 3}, "abc--ab---", outcome{Frames: []string{"abc", "ab", "-"}}},
	{"delimiter, too long", frame.Delimiter{Delim: []byte("--"), Max: 3}, "abc--abcd--", outcome{Frames: []string{"abc"}, Err: "frame too long (max 3 bytes)"}},
	{"delimiter, rest too long", frame.Delimiter{Delim: []byte("--"), Max: 3}, "abc-", outcome{Err: "frame too long (max 3 bytes)"}},
	{"delimiters, the longest", delims("\n", "\r", "\r\n"), "a\r\n\rb\n\r", outcome{Frames: []string{"a", "", "b", ""}}},
	{"delimiters, the earliest", delims("a", "bcd"), "xabcdyabc", outcome{Frames: []string{"x", "", "y", "bc"}}},
	{"delimiters, one in the other", delims("b", "abc"), "xabcyabzab", outcome{Frames: []string{"x", "ya", "za"}}},
	{"delimiters, kept", frame.Delimiter{Delim: []byte("\n"), Or: bytesOf("\r\n"), KeepEnd: true}, "a\r\nb\n\rc", outcome{Frames: []string{"a\r\n", "b\n", "\rc"}}},
	{"nul", frame.Delimiter{Delim: []byte{0}}, "a\x00\x00", outcome{Frames: []string{"a", ""}}},
	{"dot block", frame.DotBlock{}, "a\r\nbc\r\n.\r\nd\r\n.\r\n", outcome{Frames: []string{"a\r\nbc\r\n", "d\r\n"}}},
	{"dot blocks without lines", frame.DotBlock{}, ".\r\n.\r\n", outcome{Frames: []string{"", ""}}},
	{"dot block, empty line", frame.DotBlock{}, "\r\n.\r\n", outcome{Frames: []string{"\r\n"}}},
	{"dot block, dots", frame.DotBlock{}, "..\r\n...\r\n.a\r\na.\r\n..b\r\n.\r\n", outcome{Frames: []string{".\r\n..\r\na\r\na.\r\n.b\r\n"}}},
	{"dot block, cut off", frame.DotBlock{}, ".\r\na\r\n.\r", outcome{Frames: []string{""}, Err: "unexpected EOF"}},
	{"dot block, maximum length", frame.DotBlock{Max: 5}, "abc\r\n.\r\n..b\r\n.\r\n..\r\n..\r\n.\r\n", outcome{Frames: []string{"abc\r\n", ".b\r\n"}, Err: "frame too long (max 5 bytes)"}},
	{"dot block, maximum length with dots", frame.DotBlock{Max: 6}, "..\r\n..\r\n.\r\n", outcome{Frames: []string{".\r\n.\r\n"}}},
	{"dot block, too long", frame.DotBlock{Max: 5}, "abcd\r\n.\r\n", outcome{Err: "frame too long (max 5 bytes)"}},
	{"dot block, too long before its end", frame.DotBlock{Max: 5}, strings.Repeat("x", 200), outcome{Err: "frame too long (max 5 bytes)"}},
	{"dot block, too long before a bare LF", frame.DotBlock{Max: 5}, "abcdef\n", outcome{Err: "frame too long (max 5 bytes)"}},
	{"dot block, too long and cut off", frame.DotBlock{Max: 5}, "abcd\r\n", outcome{Err: "frame too long (max 5 bytes)"}},
	{"dot block, bare LF at the maximum", frame.DotBlock{Max: 5}, "abcde\n", outcome{Err: "line does not end in CRLF: bare LF"}},
	{"dot block, NUL", frame.DotBlock{}, "\r\n.\x00\r\n\x00.\r\n.\r\n", outcome{Frames: []string{"\r\n\x00\r\n\x00.\r\n"}}},

	{"no delimiter", frame.Delimiter{}, "a", outcome{Err: "invalid codec settings: empty delimiter"}},
}

func delims(first string, or ...string) frame.Codec {
	return frame.Delimiter{Delim: []byte(first), Or: bytesOf(or...)}
}

// A delimiter is found at any distance.
func TestDistantDelimiters(t *testing.T) {
	for n := range 600 {
		for _, end := range []string{"\r\n", "\n", "--"} {
			f := strings.Repeat("x", n)
			if diff := cmp.Diff(outcome{Frames: []string{f, f}}, split(delims("\r\n", "\n", "--"), []byte(f+end+f+end))); diff != "" {
				t.Errorf("%d bytes, %q (-want +got):\n%s", n, end, diff)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	for _, test := range splitTests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, split(test.codec, []byte(test.in))); diff != "" {
				t.Errorf("in one piece (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, split(test.codec, bytewise(test.in)...)); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTooLongIsErrTooLong(t *testing.T) {
	for _, c := range []frame.Codec{frame.Line{Max: 1}, frame.Delimiter{Delim: []byte("\n"), Max: 1}} {
		if _, _, err := c.Split([]byte("ab\n"), 0, false); !errors.Is(err, frame.ErrTooLong) {
			t.Errorf("%T: Split returned %v, want ErrTooLong", c, err)
		}
		if _, err := c.Append(nil, []byte("ab")); !errors.Is(err, frame.ErrTooLong) {
			t.Errorf("%T: Append returned %v, want ErrTooLong", c, err)
		}
	}
}

// fussy needs two more bytes than there are, and breaks the contract on demand.
type fussy struct {
	frame []byte
	n     int
}

func (f fussy) Split([]byte, int, bool) ([]byte, int, error) { return f.frame, f.n, nil }
func (f fussy) Append(dst, _ []byte) ([]byte, error)         { return dst, nil }

func TestBufferDistrustsCodecs(t *testing.T) {
	for name, c := range map[string]fussy{
		"a frame of nothing":   {frame: []byte{}, n: 0},
		"more than there is":   {frame: []byte{}, n: 5},
		"less than nothing":    {frame: nil, n: -1},
		"skips more than that": {frame: nil, n: 9},
	} {
		var in frame.Buffer
		in.Filled(copy(in.Space(), "abcd"))
		if _, ok, err := in.Next(c, false); ok || !errors.Is(err, frame.ErrCodec) {
			t.Errorf("%s: ok %v, error %v", name, ok, err)
		}
	}
}

func TestBufferAtEOF(t *testing.T) {
	var in frame.Buffer
	if _, ok, err := in.Next(fussy{}, true); ok || err != nil {
		t.Errorf("empty buffer: ok %v, error %v", ok, err)
	}
	in.Filled(copy(in.Space(), "abcd"))
	if _, ok, err := in.Next(fussy{}, true); ok || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("partial frame: ok %v, error %v, want io.ErrUnexpectedEOF", ok, err)
	}
	if _, ok, err := in.Next(fussy{n: 1}, true); ok || err != nil || in.Len() != 0 {
		t.Errorf("a codec that skips everything: ok %v, error %v, %d bytes left", ok, err, in.Len())
	}
}

func TestBufferIsBoundedByTheMaximum(t *testing.T) {
	const max = 100 << 10
	zeros := make([]byte, 4096)
	var in frame.Buffer
	for range 10000 {
		in.Filled(copy(in.Space(), zeros))
		if _, _, err := in.Next(frame.Line{Max: max}, false); err != nil {
			if in.Cap() > 2*max+16<<10 {
				t.Errorf("the buffer has %d bytes for a maximum of %d", in.Cap(), max)
			}
			return
		}
	}
	t.Error("no error after 40 MB without a line end")
}

func TestLongFrameIsSearchedOnce(t *testing.T) {
	for _, codec := range []frame.Codec{
		frame.Line{Max: 1 << 20},
		frame.Line{Max: 1 << 20, Strict: true},
		frame.DotBlock{Max: 1 << 20},
	} {
		c := &counting{Codec: codec}
		split(c, bytewise(strings.Repeat("x", 1<<16)+"\r\n")...)
		if c.searched > 1<<18 {
			t.Errorf("%+v: searched %d bytes to find a line of %d bytes", codec, c.searched, 1<<16)
		}
	}
}

type counting struct {
	frame.Codec
	searched int
}

func (c *counting) Split(buf []byte, seen int, eof bool) ([]byte, int, error) {
	c.searched += len(buf) - seen
	return c.Codec.Split(buf, seen, eof)
}

func TestAppend(t *testing.T) {
	dash := []byte("--")
	for _, test := range []struct {
		codec   frame.Codec
		payload string
		want    string
		err     error
	}{
		{frame.Line{}, "a", "a\n", nil},
		{frame.Line{}, "", "\n", nil},
		{frame.Line{}, "a\n", "", frame.ErrDelimiter},
		{frame.Line{}, "a\nQUIT", "", frame.ErrDelimiter},
		{frame.Line{}, "a\r", "", frame.ErrDelimiter},
		{frame.Line{CRLF: true}, "a", "a\r\n", nil},
		{frame.Line{CRLF: true, KeepEnd: true}, "a\n", "a\n", nil},
		{frame.Line{CRLF: true, KeepEnd: true}, "a", "a\r\n", nil},
		{frame.Line{KeepEnd: true}, "a\r\n", "a\r\n", nil},
		{frame.Line{KeepEnd: true}, "a", "a\n", nil},
		{frame.Line{KeepEnd: true}, "a\n\n", "", frame.ErrDelimiter},
		{frame.Line{Strict: true}, "a", "a\r\n", nil},
		{frame.Line{Strict: true}, "", "\r\n", nil},
		{frame.Line{Strict: true}, "a\r\nQUIT", "", frame.ErrDelimiter},
		{frame.Line{Strict: true}, "a\r\n", "", frame.ErrDelimiter},
		{frame.Line{Strict: true}, "a\nQUIT", "", frame.ErrLineEnd},
		{frame.Line{Strict: true}, "a\rQUIT", "", frame.ErrLineEnd},
		{frame.Line{Strict: true}, "a\r", "", frame.ErrLineEnd},
		{frame.Line{Strict: true, Max: 3}, "abcd", "", frame.ErrTooLong},
		{frame.Line{Strict: true, KeepEnd: true}, "a\r\n", "a\r\n", nil},
		{frame.Line{Strict: true, KeepEnd: true}, "a", "a\r\n", nil},
		{frame.Line{Strict: true, KeepEnd: true}, "a\n", "", frame.ErrLineEnd},
		{frame.Line{Strict: true, KeepEnd: true}, "a\r\n\r\n", "", frame.ErrDelimiter},
		{frame.Delimiter{Delim: dash}, "a", "a--", nil},
		{frame.Delimiter{Delim: dash}, "a-", "", frame.ErrDelimiter},
		{frame.Delimiter{Delim: dash}, "a--b", "", frame.ErrDelimiter},
		{frame.Delimiter{Delim: dash, KeepEnd: true}, "a--", "a--", nil},
		{frame.Delimiter{}, "a", "", frame.ErrNoDelimiter},
		{frame.DotBlock{}, "", ".\r\n", nil},
		{frame.DotBlock{}, "\r\n", "\r\n.\r\n", nil},
		{frame.DotBlock{}, "a\r\n", "a\r\n.\r\n", nil},
		{frame.DotBlock{}, "a", "a\r\n.\r\n", nil},
		{frame.DotBlock{}, ".\r\n..a\r\nb.", "..\r\n...a\r\nb.\r\n.\r\n", nil},
		{frame.DotBlock{}, ".", "..\r\n.\r\n", nil},
		{frame.DotBlock{}, "a\r\n.\r\nQUIT", "a\r\n..\r\nQUIT\r\n.\r\n", nil},
		{frame.DotBlock{}, "a\n.\nQUIT", "", frame.ErrLineEnd},
		{frame.DotBlock{}, "a\r.\r", "", frame.ErrLineEnd},
		{frame.DotBlock{}, "a\r", "", frame.ErrLineEnd},
		{frame.DotBlock{Max: 3}, "a\r\n", "a\r\n.\r\n", nil},
		{frame.DotBlock{Max: 3}, ".", "..\r\n.\r\n", nil},
		{frame.DotBlock{Max: 3}, "ab", "", frame.ErrTooLong},
		{delims("\n", "\r\n"), "a", "a\n", nil},
		{delims("\n", "\r\n"), "a\r", "", frame.ErrDelimiter},
		{delims("b", "abc"), "xa", "", frame.ErrDelimiter},
		{delims("bx", "ab"), "xa", "", frame.ErrDelimiter},
		{frame.Delimiter{Delim: []byte("\r\n"), Or: bytesOf("\r"), KeepEnd: true}, "a\r\n", "a\r\n", nil},
		{frame.Delimiter{Delim: []byte("\r\n"), Or: bytesOf("\r"), KeepEnd: true}, "a\r", "", frame.ErrDelimiter},
		{frame.Delimiter{Delim: []byte("\r\n"), Or: bytesOf("\n"), KeepEnd: true}, "a\n", "a\n", nil},
	} {
		dst, err := test.codec.Append([]byte("before"), []byte(test.payload))
		if !errors.Is(err, test.err) || string(dst) != "before"+test.want {
			t.Errorf("%#v.Append(%q) = %q, %v", test.codec, test.payload, dst, err)
		}
	}
}

// cut cuts data into pieces as the bits of cuts say. The fuzzers use it.
func cut(data []byte, cuts uint64) (pieces [][]byte) {
	random := rand.New(rand.NewPCG(cuts, 1))
	for len(data) > 0 {
		n := 1 + random.IntN(min(len(data), 1+int(cuts%97)))
		pieces = append(pieces, data[:n])
		data = data[n:]
	}
	return pieces
}

// checkChunking checks a property of every codec: the pieces in which a stream arrives
// change neither its frames nor its error.
func checkChunking(t *testing.T, c frame.Codec, data []byte, cuts uint64) {
	t.Helper()
	whole := split(c, data)
	if diff := cmp.Diff(whole, split(c, cut(data, cuts)...)); diff != "" {
		t.Errorf("%+v: in one piece (-) and in several (+):\n%s", c, diff)
	}
}

// checkRoundTrip checks a property of every codec: splitting an encoded payload returns
// that payload.
func checkRoundTrip(t *testing.T, c frame.Codec, payload []byte, keepEnd bool) {
	t.Helper()
	encoded, err := c.Append(nil, payload)
	if err != nil {
		return
	}
	f, n, err := c.Split(encoded, 0, false)
	if err != nil || n != len(encoded) {
		t.Fatalf("%+v: Split(%q) = %q, %d, %v", c, encoded, f, n, err)
	}
	again, err := c.Append(nil, f)
	if err != nil || !bytes.Equal(again, encoded) {
		t.Errorf("%+v: %q encodes to %q, its frame %q to %q, %v", c, payload, encoded, f, again, err)
	}
	if !keepEnd && !bytes.Equal(payload, f) {
		t.Errorf("%+v: payload %q was split into %q", c, payload, f)
	}
}

func FuzzLine(f *testing.F) {
	for _, test := range splitTests {
		f.Add([]byte(test.in), uint64(3), uint16(3), false, false)
		f.Add([]byte(test.in), uint64(4), uint16(0), true, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16, keep, crlf bool) {
		c := frame.Line{Max: int(max), KeepEnd: keep, CRLF: crlf}
		checkChunking(t, c, data, cuts)
		checkWrap(t, c, data)
		checkRoundTrip(t, c, data, keep)
		checkRecovery(t, c, data, cuts, delimited(data, bytesOf("\n", "\r\n"), int(max), keep))
	})
}

func FuzzStrictLine(f *testing.F) {
	for _, test := range splitTests {
		f.Add([]byte(test.in), uint64(3), uint16(3), false)
		f.Add([]byte(test.in), uint64(4), uint16(0), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16, keep bool) {
		c := frame.Line{Strict: true, Max: int(max), KeepEnd: keep}
		checkChunking(t, c, data, cuts)
		checkWrap(t, c, data)
		checkRoundTrip(t, c, data, keep)
		checkRecovery(t, c, data, cuts, strictLines(data, int(max), keep))
	})
}

func FuzzDelimiter(f *testing.F) {
	for _, test := range splitTests {
		f.Add([]byte(test.in), []byte("--"), uint64(3), uint16(3), false)
	}
	f.Fuzz(func(t *testing.T, data, delim []byte, cuts uint64, max uint16, keep bool) {
		c := frame.Delimiter{Delim: delim, Max: int(max), KeepEnd: keep}
		checkChunking(t, c, data, cuts)
		checkWrap(t, c, data)
		if len(delim) > 0 {
			checkRoundTrip(t, c, data, keep)
			checkRecovery(t, c, data, cuts, delimited(data, [][]byte{delim}, int(max), keep))
		}
	})
}

func TestNextDoesNotAllocate(t *testing.T) {
	batch := []byte(strings.Repeat("the quick brown fox\n", 64))
	var codec frame.Codec = frame.Line{}
	var in frame.Buffer
	in.Space()
	allocs := testing.AllocsPerRun(100, func() {
		in.Filled(copy(in.Space(), batch))
		for {
			if _, ok, _ := in.Next(codec, false); !ok {
				return
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for 64 frames, want none", allocs)
	}
}

func BenchmarkLine(b *testing.B) {
	batch := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog, and then it is 63\n", 64))
	var codec frame.Codec = frame.Line{}
	var in frame.Buffer
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		in.Filled(copy(in.Space(), batch))
		for {
			if _, ok, _ := in.Next(codec, false); !ok {
				break
			}
		}
	}
}
