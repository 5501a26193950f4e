package histogram_test

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"wireline/lib/histogram"
)

func TestObserve(t *testing.T) {
	h := histogram.New([]time.Duration{time.Millisecond, time.Second})
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, time.Second, time.Second + 1, time.Hour} {
		h.Observe(d)
	}
	want := histogram.Snapshot{
		Count:   6,
		Sum:     time.Hour + 2*time.Second + 2*time.Millisecond + 2,
		Buckets: []histogram.Bucket{{time.Millisecond, 2}, {time.Second, 4}},
	}
	if got := h.Snapshot(); !reflect.DeepEqual(got, want) {
		t.Errorf("Snapshot is %+v, want %+v", got, want)
	}
}

// The bounds rise, so that each duration has one bucket.
func TestBounds(t *testing.T) {
	for name, bounds := range map[string][]time.Duration{"Latencies": histogram.Latencies, "Lifetimes": histogram.Lifetimes} {
		for i, b := range bounds[1:] {
			if b <= bounds[i] {
				t.Errorf("%s: %v follows %v", name, b, bounds[i])
			}
		}
	}
}

// While others observe, counts never fall, and no bucket has more than the next.
func TestConcurrent(t *testing.T) {
	h := histogram.New(histogram.Latencies)
	var observers sync.WaitGroup
	for i := range 4 {
		observers.Go(func() {
			for n := range 2000 {
				h.Observe(time.Duration(i*n) * time.Microsecond)
			}
		})
	}
	var before uint64
	for before < 8000 {
		s := h.Snapshot()
		last := uint64(0)
		for _, b := range s.Buckets {
			if b.Count < last {
				t.Fatalf("the bucket of %v has %d, the one before it %d", b.UpTo, b.Count, last)
			}
			last = b.Count
		}
		if s.Count < last || s.Count < before {
			t.Fatalf("Count is %d; it was %d, and the last bucket has %d", s.Count, before, last)
		}
		before = s.Count
	}
	observers.Wait()
}
