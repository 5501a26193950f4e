package timestamp

import (
	"testing"
	"time"
)

func TestTime(t *testing.T) {
	before := time.Now()
	stamp := Now()
	after := time.Now()
	if at := stamp.Time(); at.Before(before.Round(0)) || at.After(after.Round(0)) {
		t.Errorf("time is %v, want between %v and %v", at, before, after)
	}
	stamp.wall += int64(time.Hour) // a step of the wall clock
	if d := stamp.Elapsed(); d < 0 || d > time.Since(before) {
		t.Errorf("elapsed is %v", d)
	}
}
