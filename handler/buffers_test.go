package handler

import (
	"testing"
	"time"
)

func TestFitsPartial(t *testing.T) {
	for _, test := range []struct {
		size, n int
		want    bool
	}{
		{maxPartial, maxPartial, false}, // a frame that short gets a buffer of its own size
		{3 * maxPartial, maxPartial + 1, false},
		{2 * (maxPartial + 1), maxPartial + 1, true},
		{loopBuffer, 5000, false},
		{8 * 5000, 5000, true}, // has grown for a long frame
		{8*5000 + 1, 5000, false},
	} {
		if got := fitsPartial(test.size, test.n); got != test.want {
			t.Errorf("fitsPartial(%d, %d) = %t", test.size, test.n, got)
		}
	}
}

// A stalled client is checked at a sixteenth of its limit, within bounds, and soon at first.
func TestCheckInterval(t *testing.T) {
	for _, test := range []struct {
		checks      int
		limit, want time.Duration
	}{
		{0, time.Hour, 20 * time.Millisecond},
		{earlyChecks, time.Hour, time.Second},
		{earlyChecks, 8 * time.Second, 500 * time.Millisecond},
		{earlyChecks, time.Millisecond, 10 * time.Millisecond},
		{0, time.Millisecond, 10 * time.Millisecond},
	} {
		o := &output{checks: test.checks}
		if got := time.Duration(o.checkInterval(test.limit)); got != test.want {
			t.Errorf("%d checks, limit %v: interval %v, want %v", test.checks, test.limit, got, test.want)
		}
	}
}
