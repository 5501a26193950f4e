package client

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestBackoffLimit(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		b       Backoff
		attempt int
		want    time.Duration
	}{
		{Backoff{}, -1, 500 * ms},
		{Backoff{}, 0, 500 * ms},
		{Backoff{}, 1, time.Second},
		{Backoff{}, 5, 16 * time.Second},
		{Backoff{}, 6, 30 * time.Second},
		{Backoff{}, math.MaxInt, 30 * time.Second},
		{Backoff{First: 3}, 2, 12},
		{Backoff{First: 3, Max: 7}, 1, 6},
		{Backoff{First: 3, Max: 7}, 2, 7},
		{Backoff{Max: 100 * ms}, 0, 100 * ms},
		{Backoff{First: time.Minute}, 0, time.Minute},
		{Backoff{First: time.Minute}, 9, time.Minute},
		{Backoff{First: math.MaxInt64/2 + 1, Max: math.MaxInt64}, 1, math.MaxInt64},
		{Backoff{First: 1, Max: math.MaxInt64}, 62, 1 << 62},
		{Backoff{First: 1, Max: math.MaxInt64}, 100, math.MaxInt64},
	} {
		if got := test.b.Limit(test.attempt); got != test.want {
			t.Errorf("%+v, attempt %d: %v, want %v", test.b, test.attempt, got, test.want)
		}
	}
}

// The waits are spread evenly from zero to the limit: of each tenth there is about a tenth.
func TestBackoffJitter(t *testing.T) {
	const n = 100_000
	var b Backoff
	source := rand.NewPCG(1, 2)
	for _, attempt := range []int{0, 3, 50} {
		var tenths [10]int
		for range n {
			wait := b.Delay(attempt, source)
			if wait < 0 || wait >= b.Limit(attempt) {
				t.Fatalf("attempt %d: wait %v", attempt, wait)
			}
			tenths[10*wait/b.Limit(attempt)]++
		}
		for i, got := range tenths {
			if math.Abs(float64(got)-n/10) > n/100 { // ten standard deviations
				t.Errorf("attempt %d: %d of %d waits are in tenth %d", attempt, got, n, i)
			}
		}
	}
}

// The same source gives the same waits: a simulation can be repeated.
func TestBackoffRepeats(t *testing.T) {
	a, b := rand.NewPCG(7, 7), rand.NewPCG(7, 7)
	for attempt := range 20 {
		if x, y := (Backoff{}).Delay(attempt, a), (Backoff{}).Delay(attempt, b); x != y {
			t.Fatalf("attempt %d: %v and %v", attempt, x, y)
		}
	}
}

func TestBackoffAllocatesNothing(t *testing.T) {
	source := rand.NewPCG(1, 2)
	if n := testing.AllocsPerRun(100, func() { (Backoff{}).Delay(3, source) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
