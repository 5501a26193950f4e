package frame_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/lib/frame"
)

// switching feeds a stream to a Buffer, and lets next choose the codec after
// each frame.
func switching(t *testing.T, next func(f []byte) frame.Codec, pieces ...[]byte) (frames []string) {
	t.Helper()
	var in frame.Buffer
	codec := next(nil)
	for _, piece := range pieces {
		in.Filled(copy(in.Space(), piece))
		for {
			f, ok, err := in.Next(codec, false)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			frames = append(frames, string(f))
			codec = next(f)
		}
	}
	if in.Len() > 0 {
		t.Errorf("%d bytes are unsplit at the end", in.Len())
	}
	return frames
}

// RFC 5321, 4.1.1.4: after DATA comes text that ends in a line of one dot.
func smtp() func(f []byte) frame.Codec {
	return func(f []byte) frame.Codec {
		if string(f) == "DATA" {
			return frame.DotBlock{}
		}
		return frame.Line{Strict: true}
	}
}

// memcached's text protocol: a data block of as many bytes as the command says,
// and a line end.
func memcachedModes() func(f []byte) frame.Codec {
	return func(f []byte) frame.Codec {
		if fields := bytes.Fields(f); len(fields) == 5 {
			size, _ := strconv.Atoi(string(fields[4]))
			return frame.Fixed{Len: size + 2}
		}
		return frame.Line{}
	}
}

// Twisted's test_basic.py, LineReceiverTests.test_buffer: a line "len N" says
// how many raw bytes follow the next empty line.
func twistedModes() func(f []byte) frame.Codec {
	size := 0
	return func(f []byte) frame.Codec {
		if digits, ok := bytes.CutPrefix(f, []byte("len ")); ok {
			size, _ = strconv.Atoi(string(digits))
		}
		if f != nil && len(f) == 0 && size > 0 {
			return frame.Fixed{Len: size}
		}
		return frame.Line{}
	}
}

// Twisted's test_basic.py, LineReceiverTests.test_stackRecursion: a line, one
// raw byte, a line, ...
func flipping() func(f []byte) frame.Codec {
	raw := true
	return func(f []byte) frame.Codec {
		if raw = !raw; raw {
			return frame.Fixed{Len: 1}
		}
		return frame.Line{}
	}
}

func TestSwitchingCodecs(t *testing.T) {
	text := "Subject: x\r\n\r\nDATA\r\n"
	for name, test := range map[string]struct {
		next func() func(f []byte) frame.Codec
		in   string
		want []string
	}{
		"SMTP": {smtp, "MAIL FROM:<>\r\nDATA\r\n" + text + "..\r\n.\r\nQUIT\r\nDATA\r\n.\r\nDATA\r\n\r\n.\r\nNOOP\r\n",
			[]string{"MAIL FROM:<>", "DATA", text + ".\r\n", "QUIT", "DATA", "", "DATA", "\r\n", "NOOP"}},
		"memcached": {memcachedModes, "set k 0 0 5\r\nhello\r\nget k\r\nset k 0 0 4\r\n\r\n\r\n\r\nquit\r\n",
			[]string{"set k 0 0 5", "hello\r\n", "get k", "set k 0 0 4", "\r\n\r\n\r\n", "quit"}},
		"Twisted": {twistedModes, "len 10\n\n0123456789len 5\n\n1234\nlen 20\nfoo 123\n\n0123456789\n012345678len 0\nfoo 5\n\nlen 1\n\na",
			[]string{"len 10", "", "0123456789", "len 5", "", "1234\n", "len 20", "foo 123", "", "0123456789\n012345678", "len 0", "foo 5", "", "len 1", "", "a"}},
		"Twisted, each byte": {flipping, strings.Repeat("x\ny", 1000), strings.Split(strings.Repeat("x y ", 1000), " ")[:2000]},
	} {
		t.Run(name, func(t *testing.T) {
			for size := 1; size < 40; size++ {
				if diff := cmp.Diff(test.want, switching(t, test.next(), inPieces([]byte(test.in), size)...)); diff != "" {
					t.Errorf("in pieces of %d bytes (-want +got):\n%s", size, diff)
				}
			}
		})
	}
}

// A codec does not take bytes as searched that only another codec has searched.
func TestRescan(t *testing.T) {
	var in frame.Buffer
	in.Filled(copy(in.Space(), "a--b"))
	if _, ok, err := in.Next(frame.Line{}, false); ok || err != nil {
		t.Fatalf("ok %v, error %v", ok, err)
	}
	if in.Rescan(); string(in.Bytes()) != "a--b" {
		t.Errorf("%q is unsplit", in.Bytes())
	}
	if f, ok, err := in.Next(frame.Delimiter{Delim: []byte("--")}, false); string(f) != "a" || !ok || err != nil {
		t.Errorf("%q, ok %v, error %v", f, ok, err)
	}
}

// tokio-util's length_delimited.rs, read_update_max_frame_len_at_rest: another
// maximum from one frame to the next.
func TestMaximumChanges(t *testing.T) {
	var in frame.Buffer
	in.Filled(copy(in.Space(), "\x00\x00\x00\x09abcdefghi\x00\x00\x00\x09abcdefghi"))
	got := ""
	for _, max := range []int{0, 5} {
		f, _, err := in.Next(frame.Length{Max: max}, false)
		got += fmt.Sprintf("%s, %v; ", f, err)
	}
	if got != "abcdefghi, <nil>; , frame too long (max 5 bytes); " {
		t.Error(got)
	}
}
