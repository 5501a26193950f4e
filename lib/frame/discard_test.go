package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/lib/frame"
)

// In the result of recovered, tooLong stands for ErrTooLong, and broken for any other
// error, which ends the stream.
const (
	tooLong = "<too long>"
	broken  = "<broken>"
)

// recovered splits a stream and discards frames that are too long. It returns the
// frames and errors in order. A frame begins with "=".
func recovered(t *testing.T, c frame.Codec, pieces ...[]byte) (got []string) {
	t.Helper()
	var in frame.Buffer
	drain := func(eof bool) bool {
		for {
			f, ok, err := in.Next(c, eof)
			switch {
			case ok:
				got = append(got, "="+string(f))
			case errors.Is(err, frame.ErrTooLong):
				got = append(got, tooLong)
				if !in.Discard(c) {
					got = append(got, broken)
					return false
				}
			case err != nil:
				got = append(got, broken)
				if in.Discard(c) {
					t.Errorf("%+v: Discard returned true after %v", c, err)
				}
				return false
			default:
				return true
			}
		}
	}
	for _, piece := range pieces {
		for len(piece) > 0 {
			n := copy(in.Space(), piece)
			in.Filled(n)
			piece = piece[n:]
			if !drain(false) {
				return got
			}
		}
	}
	if drain(true) && (in.Len() > 0 || in.Discarding()) {
		t.Errorf("%+v: at the end, %d bytes are left, Discarding is %v", c, in.Len(), in.Discarding())
	}
	return got
}

// checkRecovery checks a property of every Discarder: the stream has the frames and
// errors that the model of its protocol says, in one piece, byte by byte, and in random
// pieces.
func checkRecovery(t *testing.T, c frame.Codec, data []byte, cuts uint64, want []string) {
	t.Helper()
	for how, pieces := range map[string][][]byte{"burst": {data}, "bytes": bytewise(string(data)), "pieces": cut(data, cuts)} {
		if diff := cmp.Diff(want, recovered(t, c, pieces...)); diff != "" {
			t.Errorf("%T%+v, %s of %q (-want +got):\n%s", c, c, how, data, diff)
		}
	}
}

// bound returns the effective maximum of a codec, for the models.
func bound(max int) int {
	if max <= 0 {
		return frame.DefaultMax
	}
	return max
}

// delimited is the model of all codecs with delimiters.
func delimited(data []byte, delims [][]byte, max int, keep bool) (want []string) {
	for len(data) > 0 {
		i, n := 0, 0
		for ; i < len(data) && n == 0; i++ {
			for _, d := range delims {
				if bytes.HasPrefix(data[i:], d) && len(d) > n {
					n = len(d)
				}
			}
		}
		if n > 0 {
			i--
		}
		f := data[:i]
		if keep {
			f = data[:i+n]
		}
		if i > bound(max) {
			want = append(want, tooLong)
		} else {
			want = append(want, "="+string(f))
		}
		data = data[i+n:]
	}
	return want
}

// strictLines is the model of Line with Strict.
func strictLines(data []byte, max int, keep bool) (want []string) {
	for len(data) > 0 {
		i := bytes.IndexAny(data, "\r\n")
		switch {
		case i < 0 && len(data) > bound(max), i > bound(max):
			want = append(want, tooLong)
			if i = bytes.Index(data, []byte("\r\n")); i < 0 {
				return want
			}
		case i < 0, !bytes.HasPrefix(data[i:], []byte("\r\n")):
			return append(want, broken)
		case keep:
			want = append(want, "="+string(data[:i+2]))
		default:
			want = append(want, "="+string(data[:i]))
		}
		data = data[i+2:]
	}
	return want
}

// dotBlocks is the model of DotBlock.
func dotBlocks(data []byte, max int) (want []string) {
	for len(data) > 0 {
		message, rest, err := dotBlock(string(data))
		switch {
		case len(message) > bound(max):
			want = append(want, tooLong)
			if err != nil {
				return want
			}
		case err != nil:
			return append(want, broken)
		default:
			want = append(want, "="+message)
		}
		data = []byte(rest)
	}
	return want
}

// dotBlock reads a block line by line. It returns an error if the block has no end or a line
// does not end in "\r\n", and also what it has of the message then.
func dotBlock(data string) (message, rest string, err error) {
	for data != "" {
		line, after, ok := strings.Cut(data, "\n")
		if ok && line == ".\r" {
			return message, after, nil
		}
		text, end, crlf := line, "", false
		if ok {
			text, crlf = strings.CutSuffix(line, "\r")
			end = "\r\n"
		}
		text = strings.TrimPrefix(text, ".")
		if i := strings.Index(text, "\r"); i >= 0 && (ok || i < len(text)-1) {
			return message + text[:i], "", frame.ErrLineEnd
		}
		if ok && !crlf {
			return message + text, "", frame.ErrLineEnd
		}
		message += text + end
		data = after
	}
	return message, "", io.ErrUnexpectedEOF
}

// prefixed is the model of Length, for valid settings.
func prefixed(data []byte, c frame.Length) (want []string) {
	for len(data) > 0 {
		what, total := nextPrefixed(data, c)
		want = append(want, what)
		if what == broken || total.Cmp(big.NewInt(int64(len(data)))) > 0 {
			return want
		}
		data = data[total.Int64():]
	}
	return want
}

// nextPrefixed returns what the first frame in data is, and its size; nil if that cannot be
// told.
func nextPrefixed(data []byte, c frame.Length) (what string, total *big.Int) {
	length, head := prefix(data, c)
	if head == 0 {
		return broken, nil
	}
	body := new(big.Int).Add(length, big.NewInt(int64(c.Adjust)))
	total = new(big.Int).Add(body, big.NewInt(int64(head)))
	strip := c.Strip
	if strip == 0 && !c.KeepHeader {
		strip = head
	}
	switch {
	case body.Sign() < 0, !body.IsUint64(), !total.IsUint64(), total.Cmp(big.NewInt(int64(strip))) < 0:
		return broken, total
	case body.Cmp(big.NewInt(int64(bound(c.Max)))) > 0:
		return tooLong, total
	case total.Cmp(big.NewInt(int64(len(data)))) > 0:
		return broken, total
	}
	return "=" + string(data[strip:total.Int64()]), total
}

// prefix parses the length field of a frame and returns its end; 0 if it is incomplete
// or invalid.
func prefix(data []byte, c frame.Length) (length *big.Int, end int) {
	width, digit := c.Width, uint(8)
	if width == 0 {
		width = 4
	}
	field := data[min(c.Offset, len(data)):]
	if width == frame.Varint {
		digit = 7
		for width = 1; width <= len(field) && field[width-1] >= 0x80; width++ {
		}
	}
	if len(field) < width {
		return nil, 0
	}
	length = new(big.Int)
	for i, b := range field[:width] {
		if digit == 8 && !c.LittleEndian {
			i = width - 1 - i
		}
		if digit == 7 {
			b &= 0x7f
		}
		length.Add(length, new(big.Int).Lsh(big.NewInt(int64(b)), digit*uint(i)))
	}
	if digit == 7 && (width > 1 && field[width-1] == 0 || !length.IsUint64()) {
		return nil, 0
	}
	return length, c.Offset + width
}

// netstrings is the model of Netstring.
func netstrings(data []byte, max int) (want []string) {
	for len(data) > 0 {
		digits, rest, ok := strings.Cut(string(data), ":")
		length, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || strconv.FormatUint(length, 10) != digits || len(digits) > 19 {
			return append(want, broken)
		}
		if length > uint64(bound(max)) {
			want = append(want, tooLong)
			if uint64(len(rest)) < length+1 {
				return want
			}
		} else if uint64(len(rest)) <= length || rest[length] != ',' {
			return append(want, broken)
		} else {
			want = append(want, "="+rest[:length])
		}
		data = []byte(rest[length+1:])
	}
	return want
}

// without removes the frames for which drop returns true.
func without(list []string, drop func(frame string) bool) (rest []string) {
	for _, s := range list {
		if f, ok := strings.CutPrefix(s, "="); !ok || !drop(f) {
			rest = append(rest, s)
		}
	}
	return rest
}

var crlfThenAny = frame.Delimiter{Delim: []byte("\r\n.\r\n"), Or: bytesOf("\n", "\r\n."), Max: 4}

// The end of a discarded frame may fall at any place of a read.
func TestDiscard(t *testing.T) {
	x := strings.Repeat("x", 40)
	for name, test := range map[string]struct {
		codec frame.Codec
		in    string
		want  []string
	}{
		"line":                      {frame.Line{Max: 4}, x + "\r\nabcd\r\n" + x + "\nef", []string{tooLong, "=abcd", tooLong, "=ef"}},
		"several in a row":          {frame.Line{Max: 4}, x + "\n" + x + "\n" + x + "\n", []string{tooLong, tooLong, tooLong}},
		"at the end of the stream":  {frame.Line{Max: 4}, "a\n" + x, []string{"=a", tooLong}},
		"one byte too long":         {frame.Line{Max: 4}, "abcde\nabcd\n", []string{tooLong, "=abcd"}},
		"empty lines after it":      {frame.Line{Max: 4}, "abcde\n\n\n", []string{tooLong, "=", "="}},
		"a lone carriage return":    {frame.Line{Max: 4}, "abcd\rx\nab\n", []string{tooLong, "=ab"}},
		"last byte is half an end":  {frame.Line{Max: 4}, "abcd\r", []string{tooLong}},
		"strict line":               {frame.Line{Strict: true, Max: 4}, x + "\n" + x + "\r" + x + "\r\nabcd\r\n" + x + "\r\nab\n", []string{tooLong, "=abcd", tooLong, broken}},
		"strict line without end":   {frame.Line{Strict: true, Max: 4}, x + "\n" + x + "\r", []string{tooLong}},
		"dot block":                 {frame.DotBlock{Max: 4}, x + "\r\n.\r\nab\r\n.\r\n" + x + "\r\n.x\r\n..\r\n.\r\n.\r\n", []string{tooLong, "=ab\r\n", tooLong, "="}},
		"dot block, bare LF":        {frame.DotBlock{Max: 4}, x + "\n\r\n.\r\nab\r\n.\r\n", []string{tooLong}},
		"dot block, bare CR":        {frame.DotBlock{Max: 4}, x + "\r\n" + x + "\r\r\n.\r\nab\r\n.\r\n", []string{tooLong}},
		"dot block, no dot line":    {frame.DotBlock{Max: 4}, x + ".\r\n" + x + "\r\n..\r\n. \r\n.\r\nab\r\n.\r\n", []string{tooLong, "=ab\r\n"}},
		"dot block, only its end":   {frame.DotBlock{Max: 1}, "\r\n.\r\n.\r\n\r\n.\r", []string{tooLong, "=", tooLong}},
		"dot block without end":     {frame.DotBlock{Max: 4}, x + "\n.\n\r\n.\r", []string{tooLong}},
		"delimiter":                 {frame.Delimiter{Delim: []byte("--"), Max: 4}, x + "-" + x + "---abc--", []string{tooLong, "=-abc"}},
		"delimiters":                {crlfThenAny, x + "\r\n\nab\r\n.\r\n" + x + "\r\n.abc\ncd", []string{tooLong, "=", "=ab", tooLong, "=abc", "=cd"}},
		"an end that is undecided":  {frame.Delimiter{Delim: []byte("abcd"), Or: bytesOf("b"), Max: 2}, "xxxxabc", []string{tooLong, "=c"}},
		"shorter than its end":      {frame.Delimiter{Delim: []byte("-----"), Max: 3}, "abc-----abcd", []string{"=abc", tooLong}},
		"shorter, and half an end":  {frame.Delimiter{Delim: []byte("-----"), Max: 3}, "----", []string{tooLong}},
		"length":                    {frame.Length{Width: 1, Max: 4}, "\x05abcde\x01a\xff" + x, []string{tooLong, "=a", tooLong}},
		"length with its header":    {frame.Length{Width: 1, Offset: 1, Adjust: -2, Max: 4, KeepHeader: true}, "?\x07abcde?\x03a", []string{tooLong, "=?\x03a"}},
		"length, and then a bad":    {frame.Length{Width: 1, Adjust: -1, Max: 4}, "\x06abcde\x02a\x00", []string{tooLong, "=a", broken}},
		"length of all there can":   {frame.Length{Width: 8, Max: 4}, "\xff\xff\xff\xff\xff\xff\xff\xf0" + x, []string{tooLong}},
		"length of more than that":  {frame.Length{Width: 8, Max: 4}, "\xff\xff\xff\xff\xff\xff\xff\xf8" + x, []string{broken}},
		"netstring":                 {frame.Netstring{Max: 4}, "5:abcde,1:a,", []string{tooLong, "=a"}},
		"netstring, unchecked":      {frame.Netstring{Max: 4}, "5:abcde;1:a,", []string{tooLong, "=a"}},
		"netstring, then a bad one": {frame.Netstring{Max: 4}, "5:abcde,x", []string{tooLong, broken}},
		"JSON lines":                {frame.JSONLines{Max: 4}, "[1,2,3]\n\n[1]\n", []string{tooLong, "=[1]"}},
	} {
		t.Run(name, func(t *testing.T) {
			for cuts := range uint64(20) {
				checkRecovery(t, test.codec, []byte(test.in), cuts, test.want)
			}
		})
	}
}

// Discarding a frame of any length does not make the buffer grow.
func TestDiscardKeepsNothing(t *testing.T) {
	const size = 10 << 20
	block := bytes.Repeat([]byte("x"), 4096)
	for _, test := range []struct {
		codec      frame.Codec
		head, tail string
	}{
		{frame.Line{Max: 1000}, "", "\n"},
		{frame.Line{Strict: true, Max: 1000}, "", "\n\r\n"},
		{frame.Delimiter{Delim: []byte("\r\n.\r\n"), Or: bytesOf("x\n"), Max: 1000}, "", "\r\n.\r\n"},
		{frame.DotBlock{Max: 1000}, "", "\r\n.\r\n"},
		{frame.Length{Max: 1000}, string(binary.BigEndian.AppendUint32(nil, size+1)), "x"},
		{frame.Netstring{Max: 1000}, "10485760:", ","},
		{resp{Max: 1000}, "*2\r\n$10485760\r\n", "\r\n$1\r\nx\r\n"},
		{memcached{Max: 1000}, "set k 0 0 10485760\r\n", "\r\n"},
	} {
		var in frame.Buffer
		in.Filled(copy(in.Space(), test.head))
		errs := 0
		read := func() {
			_, ok, err := in.Next(test.codec, false)
			if errors.Is(err, frame.ErrTooLong) {
				errs++
				in.Discard(test.codec)
				err = nil
			}
			if ok || err != nil {
				t.Fatalf("%T: ok %v, error %v", test.codec, ok, err)
			}
		}
		for sent := 0; sent < size; sent += len(block) {
			in.Filled(copy(in.Space(), block))
			read()
			if in.Len() > 8 || !in.Discarding() {
				t.Fatalf("%T: %d bytes are unsplit, Discarding is %v", test.codec, in.Len(), in.Discarding())
			}
		}
		in.Filled(copy(in.Space(), test.tail))
		read()
		if in.Cap() > 16<<10 || in.Len() != 0 || in.Discarding() || errs != 1 {
			t.Errorf("%T: at the end, Cap is %d, Len %d, Discarding %v, after %d errors", test.codec, in.Cap(), in.Len(), in.Discarding(), errs)
		}
	}
}

// A frame of 1<<63 bytes, more than anyone can send, is counted correctly.
func TestDiscardOfHugeFrames(t *testing.T) {
	for _, length := range []uint64{1 << 32, 1 << 63, math.MaxUint64 - 8} {
		c := frame.Length{Width: 8}
		header := binary.BigEndian.AppendUint64(nil, length)
		if n, _, done := c.Discard(header, 0, false); n != length+8 || !done {
			t.Errorf("Discard returned %d bytes for a frame of %d, done %v", n, length, done)
		}
		var in frame.Buffer
		in.Filled(copy(in.Space(), header))
		if _, _, err := in.Next(c, false); !errors.Is(err, frame.ErrTooLong) || !in.Discard(c) {
			t.Errorf("%d bytes: error %v, or Discard returned false", length, err)
		}
		for range 100 {
			in.Filled(len(in.Space()))
			if _, ok, err := in.Next(c, false); ok || err != nil || !in.Discarding() || in.Len() > 0 {
				t.Fatalf("%d bytes: ok %v, error %v", length, ok, err)
			}
		}
		if _, ok, err := in.Next(c, true); ok || err != nil || in.Discarding() {
			t.Errorf("%d bytes, at the end of the stream: ok %v, error %v", length, ok, err)
		}
	}
}

// unending returns arbitrary results for the frames that it discards.
type unending struct {
	frame.Line
	n    uint64
	done bool
}

func (u unending) Discard([]byte, uint64, bool) (n, next uint64, done bool) { return u.n, 0, u.done }

func TestDiscardRefuses(t *testing.T) {
	fill := func(in *frame.Buffer, c frame.Codec, s string) error {
		in.Filled(copy(in.Space(), s))
		_, _, err := in.Next(c, false)
		return err
	}
	var in frame.Buffer
	if in.Discard(frame.Line{}) {
		t.Error("Discard returned true before any error")
	}
	if err := fill(&in, frame.Netstring{}, "x"); err == nil || in.Discard(frame.Line{}) {
		t.Errorf("Discard returned true after an error that is not ErrTooLong: %v", err)
	}
	in.Reset()
	if err := fill(&in, frame.Line{Max: 1}, "abc"); err == nil || in.Discard(fussy{}) {
		t.Errorf("Discard returned true for a codec that is not a Discarder: %v", err)
	}
	if in.Discard(unending{}) || in.Discard(unending{done: true}) {
		t.Error("Discard returned true for a codec that discards nothing: Next would return the same error for ever")
	}
	if !in.Discard(frame.Line{}) || in.Discard(frame.Line{}) {
		t.Error("Discard returned false, or true at a second call")
	}
	if in.Reset(); in.Discarding() {
		t.Error("Discarding is true after Reset")
	}
	if err := fill(&in, frame.Line{}, "a\n"); err != nil {
		t.Error(err)
	}
}

// A Discarder that never finds the end costs no memory and no time.
func TestDiscardWithoutEnd(t *testing.T) {
	c := unending{Line: frame.Line{Max: 1}, n: math.MaxUint64}
	if got := recovered(t, c, bytewise(strings.Repeat("abc\n", 100))...); len(got) != 1 {
		t.Errorf("the result is %q", got)
	}
	c.n = 1
	if got := recovered(t, c, bytewise(strings.Repeat("abc\n", 100))...); len(got) != 1 {
		t.Errorf("the result is %q", got)
	}
}

func TestUnfinishedFrameAfterDiscard(t *testing.T) {
	var in frame.Buffer
	c := frame.Length{Width: 1, Max: 2}
	in.Filled(copy(in.Space(), "\x03abc\x02a"))
	if _, _, err := in.Next(c, false); !errors.Is(err, frame.ErrTooLong) || !in.Discard(c) || in.Discarding() {
		t.Errorf("error %v, discarding %v", err, in.Discarding())
	}
	if _, ok, err := in.Next(c, true); ok || err != io.ErrUnexpectedEOF {
		t.Errorf("partial frame at the end: ok %v, error %v", ok, err)
	}
}

func BenchmarkDiscard(b *testing.B) {
	c := frame.Line{Max: 1000}
	block := bytes.Repeat([]byte("x"), 4096)
	var in frame.Buffer
	in.Filled(copy(in.Space(), block))
	in.Next(c, false)
	in.Discard(c)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		in.Filled(len(in.Space()[:len(block)]))
		in.Next(c, false)
	}
}
