package eventloop

import "testing"

// Naps begin after short waits. A long nap costs the right to nap for a while, and several cost
// more. A wait that is neither short nor long costs no more than starting again.
func TestNaps(t *testing.T) {
	const short, middling, long = shortWait - 1, shortWait + 1, longNap + 1
	var n naps
	waits := func(times int, took int64) (napped int) {
		for range times {
			may := n.may()
			if may {
				napped++
			}
			n.waited(took, may)
		}
		return napped
	}
	steps := []struct {
		about string
		times int
		took  int64
		want  int
	}{
		{"the first waits", enoughShort, short, 0},
		{"short naps", 1000, short, 1000},
		{"a middling nap", 1, middling, 1},
		{"short waits after it", enoughShort, short, 0},
		{"a long nap", 1, long, 1},
		{"long waits after it", 10, long, 0},
		{"short waits after those", minPenalty, short, 0},
		{"a second long nap", 1, long, 1},
		{"short waits after that", 2 * minPenalty, short, 0},
		{"and then short naps", 10, short, 10},
	}
	for _, s := range steps {
		if got := waits(s.times, s.took); got != s.want {
			t.Errorf("%s: %d naps, want %d", s.about, got, s.want)
		}
	}
}

// One processor, of several, is never in a nap.
func TestNappingLeavesAProcessor(t *testing.T) {
	for _, tt := range []struct{ processors, want int }{{1, 1}, {2, 1}, {4, 3}} {
		got := 0
		for napping(tt.processors) {
			got++
		}
		nappers.Sub(int32(got))
		if got != tt.want {
			t.Errorf("%d processors: %d naps at the same time, want %d", tt.processors, got, tt.want)
		}
	}
}
