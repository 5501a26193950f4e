package eventloop_test

import (
	"math"
	"testing"
	"time"

	"wireline/internal/eventloop"
)

func TestAfter(t *testing.T) {
	for _, test := range []struct {
		now  int64
		d    time.Duration
		want int64
	}{
		{5, time.Second, 5 + 1e9},
		{0, 0, 0},
		{7, -1, 6},
		{5, math.MaxInt64, 1 << 62},
		{1 << 61, math.MaxInt64, 1 << 62},
	} {
		if got := eventloop.After(test.now, test.d); got != test.want {
			t.Errorf("%d after %d: %d, want %d", test.d, test.now, got, test.want)
		}
	}
}
