//go:build linux

package main

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			work  work
			line  string
			lines int
			want  time.Duration
		}{
			{naps, "a\n", 3, 3 * napTime},
			{winks, "a\n", 3, 3 * winkTime},
			{fewNaps, "a\n", napEvery - 1, 0},
			{fewNaps, "a\n", 2*napEvery + 1, 2 * napTime},
			{obeying, "sleep 10s\n", 1, 10 * time.Second},
			{obeying, "sleep well\n", 1, 0},
			{obeying, "a\n", 1, 0},
		} {
			began := time.Now()
			for seen := range test.lines {
				test.work.pause([]byte(test.line), seen+1)
			}
			if got := time.Since(began); got != test.want {
				t.Errorf("%s: %d times %q took %v, want %v", test.work, test.lines, test.line, got, test.want)
			}
		}
	})
}
