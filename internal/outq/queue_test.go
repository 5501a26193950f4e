package outq_test

import (
	"bytes"
	"testing"

	"wireline/internal/outq"
)

// FuzzQueue checks that a queue returns the bytes that were added, in order, whichever
// methods added them and in whatever pieces they are taken.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 10, 1, 4, 2, 0, 3, 20, 1, 255, 4, 0, 5, 0})
	f.Add([]byte{0, 200, 1, 50, 0, 10, 6, 0, 4, 0, 1, 100, 6, 0, 0, 3, 1, 255})
	f.Add([]byte{3, 200, 0, 3, 3, 9, 1, 1, 1, 1, 1, 1, 2, 2, 2})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var q outq.Queue
		var in, out []byte // since Reset
		marked := 0
		next := byte(0)
		make := func(n byte) []byte {
			p := bytes.Repeat([]byte{0}, int(n))
			for i := range p {
				next++
				p[i] = next
			}
			return p
		}
		for ; len(steps) >= 2; steps = steps[2:] {
			n := steps[1]
			switch steps[0] % 7 {
			case 0:
				p := make(n)
				in = append(in, p...)
				q.Add(p)
				clear(p) // the queue has a copy
			case 1:
				head := q.Head()
				k := min(int(n), len(head))
				out = append(out, head[:k]...)
				if again := q.Head(); !bytes.Equal(again, head) {
					t.Fatal("a second call of Head returned other bytes")
				}
				q.Take(k)
			case 2:
				p := make(n)
				in = append(in, p...)
				if got := q.Grown(append(q.Tail(), p...)); got != len(p) {
					t.Fatalf("Grown returned %d, want %d", got, len(p))
				}
			case 3:
				p, tail := make(n), make(n/3)
				if !q.Single() {
					q.Add(p)
					q.Add(tail)
					in = append(append(in, p...), tail...)
					break
				}
				head := q.Head()
				whole := bytes.Join([][]byte{head, p, tail}, nil)
				k := len(whole) * int(n) / 255
				out = append(out, whole[:k]...)
				in = append(append(in, p...), tail...)
				q.Through(k, p, tail)
				clear(p)
				clear(tail)
			case 4:
				q.Mark()
				marked = len(in)
			case 5:
				q.Reset()
				in, out, marked = nil, nil, 0
			case 6:
				q.Fit()
				if q.Cap() > max(4*q.Size(), 4<<10) {
					t.Fatalf("a queue of %d bytes has %d of memory", q.Size(), q.Cap())
				}
			}
			if !bytes.HasPrefix(in, out) {
				t.Fatalf("added %v, sent %v", in, out)
			}
			if q.Size() != len(in)-len(out) {
				t.Fatalf("Size is %d; %d bytes were added, %d sent", q.Size(), len(in), len(out))
			}
			if q.Marked() != (len(out) >= marked) {
				t.Fatalf("Marked is %t after %d bytes; the mark is at %d", q.Marked(), len(out), marked)
			}
			if head := q.Head(); (len(head) == 0) != (q.Size() == 0) || !bytes.HasPrefix(in[len(out):], head) {
				t.Fatalf("Head is %v, the queue holds %v", head, in[len(out):])
			}
		}
	})
}

// A connection that copies what it is given may report more bytes than Head has: those
// behind it, which Through has offered.
func TestTakeBeyondHead(t *testing.T) {
	var q outq.Queue
	q.Add([]byte("head"))
	if !q.Single() {
		t.Fatal("the queue holds more than Head")
	}
	q.Through(0, []byte("message"), []byte("tail"))
	q.Head()
	q.Take(len("headmess"))
	if head := string(q.Head()); head != "agetail" || q.Size() != len(head) {
		t.Errorf("Head is %q and Size %d, want %q", head, q.Size(), "agetail")
	}
	q.Take(q.Size())
	if q.Size() != 0 || len(q.Head()) != 0 {
		t.Errorf("%d bytes left, want none", q.Size())
	}
}

// Reset keeps a buffer of ordinary size, so that queues can be pooled, and drops a
// large one.
func TestResetKeepsSmallBuffers(t *testing.T) {
	for _, c := range []struct{ size, keeps int }{{1000, 1000}, {1 << 20, 0}} {
		var q outq.Queue
		q.Add(make([]byte, c.size))
		q.Head()
		q.Reset()
		q.Head() // swaps the two buffers
		if got := cap(q.Tail()); got < c.keeps || c.keeps == 0 && got != 0 {
			t.Errorf("after %d bytes, Reset keeps a buffer of %d", c.size, got)
		}
	}
}

func BenchmarkAddAndTake(b *testing.B) {
	var q outq.Queue
	p := make([]byte, 64)
	b.ReportAllocs()
	b.SetBytes(64)
	for b.Loop() {
		q.Add(p)
		q.Take(len(q.Head()))
	}
}

// Few bytes do not keep the memory of many.
func TestFit(t *testing.T) {
	var q outq.Queue
	q.Add(make([]byte, 60<<10))
	q.Take(len(q.Head()) - 3)
	q.Add([]byte{1, 2})
	q.Mark()
	q.Fit()
	if q.Cap() > 100 || q.Size() != 5 || !bytes.Equal(q.Head(), []byte{0, 0, 0, 1, 2}) {
		t.Errorf("%d bytes in %d of memory: %v", q.Size(), q.Cap(), q.Head())
	}
	q.Take(5)
	if !q.Marked() {
		t.Error("the mark is lost")
	}
}
