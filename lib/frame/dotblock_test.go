package frame_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
	"wireline/lib/frame"
)

// Sequences that some server has taken for the end of a message, or that are near to one.
// https://sec-consult.com/blog/detail/smtp-smuggling-spoofing-e-mails-worldwide/
var notBlockEnds = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r\r\n.\r\n",
	"\n\r\n.\r\n", "\n.\r", "\r.\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n..\r\n", "\r\n. \r\n",
	"\r\n .\r\n", "\r\n.\t\r\n", "\x85.\x85", "\u2028.\u2028", "\v.\v", "\f.\f", ".\r\n",
}

// Nothing but a line of a single dot ends a block. A bare CR or LF is an error, and anything
// else is a part of the message.
func TestOnlyADotLineEndsABlock(t *testing.T) {
	const before, after = "text", "MAIL FROM:<a@b>\r\n"
	for _, s := range notBlockEnds {
		got := split(frame.DotBlock{}, bytewise(before+s+after+".\r\n")...)
		text := strings.ReplaceAll(before+s+after, "\r\n", "")
		if strings.ContainsAny(text, "\r\n") {
			if len(got.Frames) > 0 || !strings.HasPrefix(got.Err, frame.ErrLineEnd.Error()) {
				t.Errorf("%q: %+v, want an error", s, got)
			}
			continue
		}
		want := outcome{Frames: []string{strings.ReplaceAll(before+s+after, "\r\n.", "\r\n")}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
	}
}

func TestLineEndIsErrLineEnd(t *testing.T) {
	for _, c := range []frame.Codec{frame.Line{Strict: true}, frame.DotBlock{}} {
		for in, says := range map[string]string{"a\nb": "bare LF", "a\rb": "bare CR"} {
			_, n, err := c.Split([]byte(in), 0, false)
			if n != 0 || !errors.Is(err, frame.ErrLineEnd) || !strings.Contains(fmt.Sprint(err), says) {
				t.Errorf("%T: %q: Split took %d bytes, error %v", c, in, n, err)
			}
		}
	}
}

// The bytes that Split gets do not change: another Split of them has the same result.
func TestDotBlockChangesNothing(t *testing.T) {
	buf := []byte("..a\r\n.\r\n")
	for range 2 {
		if f, n, err := (frame.DotBlock{}).Split(buf, 0, false); string(f) != ".a\r\n" || n != len(buf) || err != nil {
			t.Errorf("Split returned %q, %d, %v", f, n, err)
		}
	}
}

// A block of dots in single bytes is the one whose dots are counted most often. It takes
// hours if they are counted at every byte.
func TestDotBlockCostsLittle(t *testing.T) {
	const lines = 1 << 19
	c := frame.DotBlock{Max: 3 * lines}
	block := strings.Repeat("..\r\n", lines)
	var in frame.Buffer
	for i := range len(block) {
		in.Filled(copy(in.Space(), block[i:i+1]))
		if _, ok, err := in.Next(c, false); ok || err != nil {
			t.Fatalf("after %d bytes: ok %v, error %v", i, ok, err)
		}
	}
	in.Filled(copy(in.Space(), ".\r\n"))
	if f, ok, err := in.Next(c, false); len(f) != 3*lines || !ok || err != nil {
		t.Errorf("frame of %d bytes, ok %v, error %v", len(f), ok, err)
	}
}

// A block that is too long is refused when little more than Max has arrived.
func TestDotBlockIsRefusedEarly(t *testing.T) {
	for _, max := range []int{1, 100, 10_000, 1 << 20} {
		if testutil.RaceEnabled && max > 10_000 {
			continue // it takes long, and has no concurrency
		}
		for _, line := range []string{"a line\r\n", "..\r\n", ".\x00\r\n", strings.Repeat("x", 5000)} {
			var in frame.Buffer
			c, dots := frame.DotBlock{Max: max}, 0
			for i := 0; ; i++ {
				if b := line[i%len(line)]; i%len(line) == 0 && b == '.' {
					dots++
				}
				in.Filled(copy(in.Space(), line[i%len(line):][:1]))
				if _, _, err := in.Next(c, false); errors.Is(err, frame.ErrTooLong) {
					break
				} else if err != nil || in.Len() > max+dots+max/16+64+4 {
					t.Fatalf("%q, max %d: %d bytes are buffered, error %v", line, max, in.Len(), err)
				}
			}
		}
	}
}

func BenchmarkDotBlock(b *testing.B) {
	for name, line := range map[string]string{
		"plain": "the quick brown fox jumps over the lazy dog, and then it is 63\r\n",
		"dots":  "..e quick brown fox jumps over the lazy dog, and then it is 63\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			block := []byte(strings.Repeat(line, 200) + ".\r\n")
			var codec frame.Codec = frame.DotBlock{}
			var in frame.Buffer
			b.SetBytes(int64(len(block)))
			b.ReportAllocs()
			for b.Loop() {
				in.Filled(copy(in.Space(), block))
				if _, ok, err := in.Next(codec, false); !ok {
					b.Fatal(err)
				}
			}
		})
	}
}

// The encoder of the standard library is a second opinion about dots.
func TestDotBlockIsTextproto(t *testing.T) {
	for _, message := range []string{"", "a\r\n", ".\r\n", "..a\r\n.b\r\n\r\n", "no end", "\r\n.\r\n"} {
		var want bytes.Buffer
		w := textproto.NewWriter(bufio.NewWriter(&want)).DotWriter()
		io.WriteString(w, message)
		w.Close()
		got, err := frame.DotBlock{}.Append(nil, []byte(message))
		if err != nil || string(got) != want.String() && message != "" { // textproto begins an empty message with "\r\n"
			t.Errorf("%q: Append returned %q, %v; textproto writes %q", message, got, err, want.String())
		}
	}
}
