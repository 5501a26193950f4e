package frame_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"wireline/lib/frame"
)

// sized are codecs that tell a frame's size, with a header that announces n
// bytes and what ends the frame.
var sized = []struct {
	codec func(n int) frame.Codec
	head  func(n int) []byte
	tail  string
}{
	{func(n int) frame.Codec { return frame.Length{Max: n} }, func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }, ""},
	{func(n int) frame.Codec { return frame.Netstring{Max: n} }, func(n int) []byte { return fmt.Appendf(nil, "%d:", n) }, ","},
	{func(n int) frame.Codec { return frame.Fixed{Len: n} }, func(n int) []byte { return nil }, ""},
}

// feed gives s to the buffer in pieces, and returns how often the buffer grew.
func feed(t *testing.T, in *frame.Buffer, c frame.Codec, s []byte, piece int) (grown, frames int) {
	t.Helper()
	for arrived := 0; len(s) > 0; {
		before := in.Cap()
		n := copy(in.Space(), s[:min(piece, len(s))])
		if after := in.Cap(); after != before {
			if grown++; before > 0 && after > max(2*before, 8*arrived+16<<10) {
				t.Errorf("%T: the buffer has %d bytes after %d have arrived", c, after, arrived)
			}
		}
		in.Filled(n)
		arrived += n
		s = s[n:]
		if _, ok, err := in.Next(c, false); err != nil {
			t.Fatal(err)
		} else if ok {
			frames++
		}
	}
	return grown, frames
}

// A frame that announces its size makes the buffer grow to that size at once, within
// the limit for what an announcement alone may cost.
func TestBufferGrowsToTheSize(t *testing.T) {
	const n = 1 << 20
	for _, test := range sized {
		c := test.codec(n)
		stream := append(append(test.head(n), make([]byte, n)...), test.tail...)
		var in frame.Buffer
		if grown, frames := feed(t, &in, c, stream, 64<<10); grown != 3 || frames != 1 || in.Cap() > len(stream) {
			t.Errorf("%T: %d frames, grew %d times to %d bytes for %d", c, frames, grown, in.Cap(), len(stream))
		}
		// Again, with the memory that the buffer has now.
		if in.Reset(); in.Len() != 0 || in.Cap() < n {
			t.Errorf("%T: after Reset, Len is %d and Cap %d", c, in.Len(), in.Cap())
		}
		if grown, frames := feed(t, &in, c, stream, 64<<10); grown != 0 || frames != 1 {
			t.Errorf("%T: the second time: %d frames, grew %d times", c, frames, grown)
		}
		if grown, frames := feed(t, &in, hiding{c}, bytes.Repeat(stream, 3), 1000); frames != 3 || grown > 1 {
			t.Errorf("%T: without its size %d frames, grew %d times", c, frames, grown)
		}
	}
}

// hiding is a Codec without any optional interface.
type hiding struct{ frame.Codec }

func TestBufferGrowsWithoutASize(t *testing.T) {
	const n = 1 << 20
	stream := append(make([]byte, n), '\n')
	var in frame.Buffer
	if grown, frames := feed(t, &in, frame.Line{Max: n}, stream, 64<<10); frames != 1 || grown != 8 || in.Cap() != 2*n {
		t.Errorf("%d frames, grew %d times to %d bytes", frames, grown, in.Cap())
	}
}

// The largest announced length allocates nothing until the bytes arrive.
func TestHeaderAloneDoesNotAllocate(t *testing.T) {
	for _, test := range sized {
		c := test.codec(frame.MaxMax)
		head := test.head(frame.MaxMax)
		for arrived, limit := range map[int]int{0: 16 << 10, 16<<10 - 20: 16 << 10, 17 << 10: 144 << 10} {
			var in frame.Buffer
			feed(t, &in, c, append(head, make([]byte, arrived)...), 1000)
			if in.Space(); in.Cap() > limit {
				t.Errorf("%T: the buffer has %d bytes after %d and a header", c, in.Cap(), arrived)
			}
		}
	}
}

// A small partial frame at the end of a batch does not make the buffer grow.
func TestSmallRestDoesNotGrow(t *testing.T) {
	c := frame.Length{Max: 1 << 20}
	small, _ := c.Append(nil, make([]byte, 16<<10-8))
	var in frame.Buffer
	stream := append(small, 0, 0x10, 0, 0) // a length of 1 MiB
	in.Filled(copy(in.Space(), stream))
	for range 2 {
		if _, _, err := in.Next(c, false); err != nil {
			t.Fatal(err)
		}
	}
	if in.Space(); in.Cap() != 16<<10 {
		t.Errorf("the buffer has %d bytes for a header", in.Cap())
	}
}

// Space does not return only the few bytes at the end of the buffer.
func TestSpaceIsNotSmall(t *testing.T) {
	var in frame.Buffer
	line := append(make([]byte, 99), '\n')
	for i := range 10000 {
		space := in.Space()
		if len(space) < 8<<10 {
			t.Fatalf("read %d: Space has %d bytes, and %d are unsplit", i, len(space), in.Len())
		}
		in.Filled(copy(space, line[:50+i%50]))
		in.Filled(copy(in.Space(), line[50+i%50:]))
		if _, ok, err := in.Next(frame.Line{}, false); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
}

func BenchmarkMegabyte(b *testing.B) {
	c := frame.Length{Max: 1 << 20}
	frame1M, _ := c.Append(nil, make([]byte, 1<<20))
	for name, bench := range map[string]struct {
		codec frame.Codec
		reuse bool
	}{
		"sized":   {c, false},
		"doubled": {hiding{c}, false},
		"reused":  {c, true},
	} {
		b.Run(name, func(b *testing.B) {
			var in frame.Buffer
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				if !bench.reuse {
					in = frame.Buffer{}
				}
				for s := frame1M; len(s) > 0; {
					n := copy(in.Space(), s[:min(64<<10, len(s))])
					in.Filled(n)
					s = s[n:]
					in.Next(bench.codec, false)
				}
				if in.Len() > 0 {
					b.Fatal("no frame")
				}
			}
		})
	}
}

// BenchmarkSplit splits a batch of 64 frames of 63 bytes.
func BenchmarkSplit(b *testing.B) {
	payload := []byte("the quick brown fox jumps over the lazy dog, and then it is 63.")
	for _, bench := range []struct {
		name  string
		codec frame.Codec
	}{
		{"line", frame.Line{}},
		{"delimiter", frame.Delimiter{Delim: []byte("\r\n")}},
		{"delimiters", frame.Delimiter{Delim: []byte("\r\n"), Or: bytesOf("\n", "\x00")}},
		{"fixed", frame.Fixed{Len: len(payload)}},
		{"length", frame.Length{}},
		{"varint", frame.Length{Width: frame.Varint}},
		{"netstring", frame.Netstring{}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var batch []byte
			for range 64 {
				batch, _ = bench.codec.Append(batch, payload)
			}
			var in frame.Buffer
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				in.Filled(copy(in.Space(), batch))
				for ok := true; ok; {
					_, ok, _ = in.Next(bench.codec, false)
				}
			}
		})
	}
}
