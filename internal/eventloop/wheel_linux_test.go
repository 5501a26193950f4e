package eventloop

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// wheelModel is the same as a wheel in a simpler way: a map.
type wheelModel struct {
	ends   map[*Socket]int64 // in slots
	turned int64
}

func (m *wheelModel) set(s *Socket, due int64) {
	if due == 0 {
		delete(m.ends, s)
		return
	}
	end := due / int64(slot)
	if due%int64(slot) != 0 {
		end++ // never early
	}
	m.ends[s] = max(end, m.turned+1)
}

func (m *wheelModel) expire(now int64) (due []*Socket) {
	m.turned = max(m.turned, now/int64(slot))
	for s, end := range m.ends {
		if end <= m.turned {
			due = append(due, s)
			delete(m.ends, s)
		}
	}
	return due
}

func (m *wheelModel) next() int64 {
	first := int64(never)
	for _, end := range m.ends {
		first = min(first, end*int64(slot))
	}
	return first
}

// bothWheels does the same with a wheel and its model, and compares.
type bothWheels struct {
	t       testing.TB
	wheel   wheel
	model   wheelModel
	sockets []*Socket
	now     int64
}

func newBothWheels(t testing.TB, sockets int) *bothWheels {
	b := &bothWheels{t: t, model: wheelModel{ends: make(map[*Socket]int64)}}
	for i := range sockets {
		b.sockets = append(b.sockets, numbered(i))
	}
	return b
}

func (b *bothWheels) set(i int, due int64) {
	b.wheel.set(b.sockets[i], due)
	b.model.set(b.sockets[i], due)
	b.checkNext()
}

func (b *bothWheels) advance(d time.Duration) []int {
	b.t.Helper()
	b.now += int64(d)
	got, want := numbers(b.wheel.expire(b.now, nil)), numbers(b.model.expire(b.now))
	if !slices.Equal(got, want) {
		b.t.Fatalf("at %v: sockets %v expire, want %v", time.Duration(b.now), got, want)
	}
	if next := b.wheel.next(); next <= b.now {
		b.t.Fatalf("at %v: next is %v, which is over", time.Duration(b.now), time.Duration(next))
	}
	b.checkNext()
	return got
}

// checkNext allows next to be early: that costs a look at the wheel. Late would
// be a timer that is missed.
func (b *bothWheels) checkNext() {
	b.t.Helper()
	next, want := b.wheel.next(), b.model.next()
	if next > want || (next == never) != (want == never) {
		b.t.Fatalf("at %v: next is %v, want %v", time.Duration(b.now), time.Duration(next), time.Duration(want))
	}
}

func numbers(sockets []*Socket) (list []int) {
	for _, s := range sockets {
		list = append(list, s.FD())
	}
	slices.Sort(list)
	return list
}

func (b *bothWheels) expect(d time.Duration, want ...int) {
	b.t.Helper()
	if got := b.advance(d); !slices.Equal(got, want) {
		b.t.Fatalf("at %v: sockets %v expire, want %v", time.Duration(b.now), got, want)
	}
}

const turn = slots * slot

func TestWheel(t *testing.T) {
	for name, test := range map[string]func(b *bothWheels){
		"not early, once": func(b *bothWheels) {
			b.set(0, int64(25*time.Millisecond))
			b.expect(24 * time.Millisecond)
			b.expect(6*time.Millisecond, 0)
			b.expect(2 * turn)
		},
		"moved to later and to sooner": func(b *bothWheels) {
			b.set(0, int64(50*time.Millisecond))
			b.set(1, int64(50*time.Millisecond))
			b.set(0, int64(80*time.Millisecond))
			b.set(1, int64(20*time.Millisecond))
			b.expect(30*time.Millisecond, 1)
			b.expect(30 * time.Millisecond)
			b.expect(20*time.Millisecond, 0)
		},
		"taken out of the beginning, the middle and the end": func(b *bothWheels) {
			for i := range 5 {
				b.set(i, int64(slot))
			}
			for _, i := range []int{4, 2, 0} {
				b.set(i, 0)
			}
			b.expect(slot, 1, 3)
		},
		"the only one taken out, and again": func(b *bothWheels) {
			b.set(0, int64(slot))
			b.set(0, 0)
			b.set(0, 0)
			b.expect(slot)
		},
		"several turns": func(b *bothWheels) {
			for i := range 3 { // in one list
				b.set(i, int64(slot)+int64(i)*int64(turn))
			}
			b.expect(slot, 0)
			b.expect(turn - slot)
			b.expect(slot, 1)
			b.expect(turn - slot)
			b.expect(slot, 2)
		},
		"the sooner one of a list taken out": func(b *bothWheels) {
			b.set(0, int64(turn))
			b.set(1, int64(2*turn))
			b.set(0, 0)
			b.expect(turn)
			b.expect(turn, 1)
		},
		"a look that comes late": func(b *bothWheels) {
			for i := range 5 {
				b.set(i, int64(i+1)*int64(turn)*2/3)
			}
			b.expect(4*turn, 0, 1, 2, 3, 4)
		},
		"due already": func(b *bothWheels) {
			b.expect(3 * turn)
			b.set(0, 1)
			b.set(1, b.now)
			b.expect(2*slot, 0, 1)
		},
	} {
		t.Run(name, func(t *testing.T) { test(newBothWheels(t, 5)) })
	}
}

func TestWheelAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		b := newBothWheels(t, 50)
		for range 2000 {
			if random.IntN(3) == 0 {
				b.advance(time.Duration(random.Int64N(int64(3 * turn >> random.IntN(16)))))
			} else {
				b.set(random.IntN(50), max(0, b.now+random.Int64N(int64(4*turn>>random.IntN(12)))-int64(slot)))
			}
		}
		b.advance(10 * turn)
		if n := len(b.model.ends); n != 0 {
			t.Fatalf("%d are left after all", n)
		}
	}
}

// Four bytes are one step: a socket, or 255 to advance, a shift, and how far.
func FuzzWheel(f *testing.F) {
	f.Add([]byte{0, 20, 1, 0, 1, 20, 1, 0, 255, 20, 2, 0})
	f.Add([]byte{0, 33, 0, 2, 0, 0, 0, 0, 255, 34, 0, 4})
	f.Fuzz(func(t *testing.T, steps []byte) {
		b := newBothWheels(t, 16)
		for ; len(steps) >= 4; steps = steps[4:] {
			d := int64(binary.LittleEndian.Uint16(steps[2:])) << (steps[1] % 20)
			if steps[0] == 255 {
				b.advance(time.Duration(d))
			} else if d == 0 {
				b.set(int(steps[0]%16), 0)
			} else {
				b.set(int(steps[0]%16), max(1, b.now+d-int64(slot)))
			}
		}
	})
}
