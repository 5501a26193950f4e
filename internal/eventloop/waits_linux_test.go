package eventloop

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestUnaccounted(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name                       string
		inFunctions, used, elapsed time.Duration
		want                       bool
	}{
		{"nothing runs", 0, 0, 50 * ms, false},
		{"one waits", 48 * ms, 2 * ms, 50 * ms, true},
		{"one works", 48 * ms, 50 * ms, 50 * ms, false},
		{"one waits, something else works", 48 * ms, 50 * ms, 50 * ms, false}, // it cannot be told
		{"two wait, something else works", 96 * ms, 50 * ms, 50 * ms, true},
		{"two work", 90 * ms, 98 * ms, 50 * ms, false},
		{"two work and are measured badly", 100 * ms, 85 * ms, 50 * ms, false},
		{"one of many waits now and then", 10 * ms, 1 * ms, 50 * ms, false},
		{"one of many waits, the others work", 700 * ms, 660 * ms, 50 * ms, false}, // nor that
		{"a thousand wait on goroutines of their own", 900 * time.Second, time.Second, time.Second, true},
	} {
		if got := unaccounted(test.inFunctions, test.used, test.elapsed); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

// looks has a watchdog look at loops, each time so much later that what the process
// really uses meanwhile is little beside it; inside says in which of them functions run.
func looks(w *waits, now *int64, n int, loops []*loop, inside ...bool) (waited bool) {
	for range n {
		*now += int64(interrupted)
		for i, l := range loops {
			if inside[i] {
				l.inside++
			}
		}
		waited = w.look(*now, loops) || waited
	}
	return waited
}

// One window says nothing, two do. A pause between looks begins anew.
func TestWaitsOverTwoWindows(t *testing.T) {
	loops := []*loop{{}, {}}
	var w waits
	now := int64(time.Hour)
	for range 3 {
		if looks(&w, &now, window, loops, true, false) {
			t.Error("known after one window")
		}
		now += int64(interrupted) + 1
	}
	if looks(&w, &now, window, loops, true, false) {
		t.Error("known after one window")
	}
	if !looks(&w, &now, window, loops, true, false) {
		t.Error("not known after two")
	}
	if looks(&w, &now, 4*window, loops, false, false) {
		t.Error("though no function runs")
	}
}

// A window in which a loop is in functions for less than half of the time says nothing.
func TestWaitsOfBusyLoopsOnly(t *testing.T) {
	loops := []*loop{{}, {}}
	var w waits
	now := int64(time.Hour)
	for range 4 * window {
		if looks(&w, &now, 1, loops, true, true) || looks(&w, &now, 2, loops, false, false) {
			t.Fatal("waiting, though the loops are free for two thirds of the time")
		}
	}
}

// What a thread does counts as used, and what it waits for a processor as delayed.
func TestProcessTimes(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip(err)
	}
	cpu, delay := cpuTime(), runDelay()
	for cpuTime()-cpu < 50*time.Millisecond {
		runtime.Gosched()
	}
	if after := runDelay(); after < delay {
		t.Errorf("%v delayed, %v before", after, delay)
	}
}

// If functions on the loops wait, those whose calls are long are to blame, also where others are
// found more often. The others are next.
func TestLongestGroup(t *testing.T) {
	works, waits, idle := new(Group), new(Group), new(Group)
	groups := []*Group{works, idle, waits}
	if longest(groups) != nil {
		t.Error("a group whose functions do not run is to blame")
	}
	for range 20 {
		works.learnt.found(200) // a hundred calls since the last look
	}
	if longest(groups) != works {
		t.Error("the only group is not to blame")
	}
	for range 5 {
		waits.learnt.found(4)
	}
	if longest(groups) != waits {
		t.Error("the group with long calls is not to blame")
	}
}
