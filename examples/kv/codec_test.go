package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"wireline/lib/frame"
)

// small is a codec with low limits.
var small = Codec{MaxArgs: 100, MaxBulk: 10, MaxCommand: 55}

// split returns what a server sees of a stream that arrives in pieces.
func split(c Codec, stream []byte, piece func(rest int) int) (frames []string, err error) {
	var in frame.Buffer
	for {
		n := 0
		if len(stream) > 0 {
			n = copy(in.Space(), stream[:min(piece(len(stream)), len(stream))])
			in.Filled(n)
			stream = stream[n:]
		}
		for {
			f, ok, err := in.Next(c, n == 0)
			if err != nil {
				return frames, err
			}
			if !ok {
				break
			}
			frames = append(frames, string(f))
		}
		if n == 0 {
			return frames, nil
		}
	}
}

func whole(rest int) int { return rest }

func bytewise(int) int { return 1 }

func TestSplit(t *testing.T) {
	digits := func(n int) string { return strings.Repeat("1", n) }
	for _, test := range []struct {
		name   string
		in     string
		frames []string
		err    error
	}{
		{"nothing", "", nil, nil},
		{"array", "*1\r\n$4\r\nPING\r\n", []string{"*1\r\n$4\r\nPING\r\n"}, nil},
		{"two", "*1\r\n$1\r\na\r\n*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", []string{"*1\r\n$1\r\na\r\n", "*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n"}, nil},
		{"any two bytes end an argument", "*1\r\n$1\r\naxyb\n", []string{"*1\r\n$1\r\naxy", "b"}, nil},
		{"any byte after the carriage return", "*1\rx$1\ryaxy", []string{"*1\rx$1\ryaxy"}, nil},
		{"inline", "a b\r\nc\n\r\n\n \nd\r\r\n", []string{"a b", "c", " ", "d\r"}, nil},
		{"empty arrays", "*0\r\n*-1\r\na\n", []string{"a"}, nil},
		{"cut in a line", "a\nb", []string{"a"}, io.ErrUnexpectedEOF},
		{"cut in a count", "*1\r", nil, io.ErrUnexpectedEOF},
		{"cut in an array", "*1\r\n$4\r\nPING\r", nil, io.ErrUnexpectedEOF},
		{"longest argument", "*1\r\n$10\r\n0123456789\r\n", []string{"*1\r\n$10\r\n0123456789\r\n"}, nil},
		{"argument too long", "a\n*1\r\n$11\r\n", []string{"a"}, errLength},
		{"longest command", "*3\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n",
			[]string{"*3\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n"}, nil},
		{"count too large", "*101\r\n", nil, errCount},
		{"largest count", "*100\r\n", nil, io.ErrUnexpectedEOF},
		{"no count", "*\r\n", nil, errCount},
		{"no length", "*1\r\n$\r\n", nil, errLength},
		{"negative length", "*1\r\n$-1\r\n", nil, errLength},
		{"no argument", "*1\r\n:1\r\n", nil, errNoBulk(':')},
		{"longest line", digits(65536) + "\n" + digits(65535) + "\r\n", []string{digits(65536), digits(65535)}, nil},
		{"line too long", digits(65537) + "\n", nil, errInlineTooLong},
		{"line too long with its end", digits(65536) + "\r\n", nil, errInlineTooLong},
		{"longest count", "*" + digits(65535) + "\r\n", nil, errCount},
		{"count too long", "*" + digits(65536) + "\r\n", nil, errCountTooLong},
		{"longest length", "*1\r\n$" + digits(65535) + "\r\n", nil, errLength},
		{"length too long", "*1\r\n$" + digits(65536) + "\r\n", nil, errLengthTooLong},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, piece := range map[string]func(int) int{"whole": whole, "bytewise": bytewise} {
				frames, err := split(small, []byte(test.in), piece)
				if !slices.Equal(frames, test.frames) || !errors.Is(err, test.err) {
					t.Errorf("%s: %.200q, %v; want %.200q, %v", name, frames, err, test.frames, test.err)
				}
			}
		})
	}
}

// A command over the limit is refused before all of it has arrived.
func TestCommandTooLong(t *testing.T) {
	arg := "$10\r\n0123456789\r\n"
	if _, n, err := small.Split([]byte("*4\r\n"+arg+arg+arg+"$2\r\n"), 0, false); n != 0 || err != errCommandTooLong {
		t.Errorf("Split returns %d, %v", n, err)
	}
}

// Split does not search bytes again that it has searched.
func TestSplitGoesOn(t *testing.T) {
	if line, n, err := (Codec{}).Split([]byte("a\nb\n"), 2, false); string(line) != "a\nb" || n != 4 || err != nil {
		t.Errorf("Split returns %q, %d, %v", line, n, err)
	}
}

// A length takes no memory before its bytes arrive.
func TestSplitAllocatesNothing(t *testing.T) {
	for _, in := range []string{"*1048576\r\n$67108864\r\n", "*1048576\r\n$1\r\na\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "inline"} {
		buf := []byte(in)
		if n := testing.AllocsPerRun(100, func() { (Codec{}).Split(buf, 0, false) }); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}

func TestLimitsByDefault(t *testing.T) {
	for in, want := range map[string]error{
		"*1\r\n$67108864\r\n": nil,
		"*1\r\n$67108865\r\n": errLength,
		"*1048576\r\n":        nil,
		"*1048577\r\n":        errCount,
	} {
		if _, n, err := (Codec{}).Split([]byte(in), 0, false); n != 0 || err != want {
			t.Errorf("%q: %d, %v; want %v", in, n, err, want)
		}
	}
}

// The frames do not depend on how the stream is split.
func TestSplitInPieces(t *testing.T) {
	for seed := range uint64(500) {
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		stream := g.stream()
		if seed%2 == 1 {
			stream = g.damage(stream)
		}
		samePieces(t, stream, g)
	}
}

// samePieces compares the frames of a stream in one piece with those of it in many.
func samePieces(t *testing.T, stream []byte, g generator) {
	t.Helper()
	want, wantErr := split(Codec{}, stream, whole)
	for name, piece := range map[string]func(int) int{
		"bytewise": bytewise,
		"random":   func(int) int { return 1 + g.IntN(40) },
	} {
		got, err := split(Codec{}, stream, piece)
		if !slices.Equal(got, want) || text(err) != text(wantErr) {
			t.Fatalf("%s: %q gives %q, %v; whole %q, %v", name, stream, got, err, want, wantErr)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzSplit(f *testing.F) {
	for _, stream := range protocolStreams {
		f.Add([]byte(stream))
	}
	f.Add(array("SET", "a", "b", "EX", "10"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		samePieces(t, stream, generator{rand.New(rand.NewPCG(1, 2))})
		frames, _ := split(Codec{}, stream, whole)
		for _, f := range frames {
			checkFrame(t, []byte(f))
		}
	})
}

// checkFrame checks what holds for every frame.
func checkFrame(t *testing.T, f []byte) {
	t.Helper()
	whole, err := Codec{}.Append([]byte("before"), f)
	if err != nil {
		t.Fatalf("Append(%q): %v", f, err)
	}
	again, n, err := Codec{}.Split(whole[len("before"):], 0, false)
	if !bytes.Equal(again, f) || n != len(whole)-len("before") || err != nil {
		t.Fatalf("%q is split again as %q, %d, %v", f, again, n, err)
	}
	if f[0] == '*' {
		checkArray(t, f)
		return
	}
	length := len(f)
	args, _ := parseInline(nil, f)
	for _, arg := range args {
		length -= len(arg)
	}
	if length < 0 {
		t.Fatalf("%q is shorter than its arguments %q", f, args)
	}
}

// checkArray compares the two parsers of arrays.
func checkArray(t *testing.T, f []byte) {
	t.Helper()
	args := parseArray(nil, f)
	count, _, _ := lengthLine(f)
	if int64(len(args)) != count {
		t.Fatalf("%d arguments in %q", len(args), f)
	}
	rest := f
	for _, arg := range args {
		i := bytes.Index(rest, arg)
		if i < 0 {
			t.Fatalf("argument %q is not in %q", arg, rest)
		}
		rest = rest[i+len(arg):]
	}
}

func TestAppend(t *testing.T) {
	for _, test := range []struct {
		payload, want string
		err           error
	}{
		{"PING", "PING\r\n", nil},
		{"*1\r\n$4\r\nPING\r\n", "*1\r\n$4\r\nPING\r\n", nil},
		{"PING\nPING", "", frame.ErrDelimiter},
		{"", "", frame.ErrDelimiter},
		{"*1\r\n$4\r\nPING\r\n*", "", frame.ErrDelimiter},
		{"*1\r\n$4\r\nPING\r", "", frame.ErrDelimiter},
		{"*0\r\n", "", frame.ErrDelimiter},
		{"*x\r\n", "", errCount},
	} {
		got, err := Codec{}.Append(nil, []byte(test.payload))
		if string(got) != test.want || err != test.err {
			t.Errorf("Append(%q) = %q, %v; want %q, %v", test.payload, got, err, test.want, test.err)
		}
	}
}

func TestParseInt(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "10": 10, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63,
	} {
		if got, ok := parseInt([]byte(in)); got != want || !ok {
			t.Errorf("parseInt(%q) = %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "-", "-0", "01", "-01", "+1", " 1", "1 ", "1x", "x", "--1", "9223372036854775808",
		"-9223372036854775809", "9999999999999999999", "10000000000000000000", "18446744073709551617", "\x00"} {
		if got, ok := parseInt([]byte(in)); ok {
			t.Errorf("parseInt(%q) = %d", in, got)
		}
	}
}

func TestAddInt(t *testing.T) {
	const low, high = -1 << 63, 1<<63 - 1
	for _, test := range []struct {
		a, b, sum int64
		ok        bool
	}{
		{1, 2, 3, true}, {0, 0, 0, true}, {high, 0, high, true}, {low, 0, low, true}, {high, low, -1, true}, {low, high, -1, true},
		{high, 1, 0, false}, {low, -1, 0, false}, {high, high, 0, false}, {low, low, 0, false}, {high - 1, 1, high, true},
	} {
		if sum, ok := addInt(test.a, test.b); ok != test.ok || ok && sum != test.sum {
			t.Errorf("addInt(%d, %d) = %d, %v", test.a, test.b, sum, ok)
		}
	}
}
