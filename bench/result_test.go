//go:build linux

package main

import (
	"errors"
	"flag"
	"io"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(slices.Clone(test.values)); got != test.want {
			t.Errorf("median of %v: got %v, want %v", test.values, got, test.want)
		}
	}
}

// A round in which the machine was slow for both servers does not change their ratio.
func TestRatioIsTakenWithinRounds(t *testing.T) {
	cpu := func(seconds ...int) (rounds []measurement) {
		for _, s := range seconds {
			rounds = append(rounds, measurement{Requests: 1, CPU: time.Duration(s) * time.Second})
		}
		return rounds
	}
	if got := ratio(cpuFigure, cpu(2, 20, 4), cpu(1, 10, 2)); got != 2 {
		t.Errorf("got %v, want 2", got)
	}
	if got := spread(cpu(2, 3, 1), measurement.cpuMicros); got != 1 {
		t.Errorf("spread of 1 to 3 around 2: got %v, want 1", got)
	}
	if got := ratio(cpuFigure, cpu(1), cpu(0)); got != 0 {
		t.Errorf("divided by zero: got %v, want 0", got)
	}
}

func TestStalledIsComparedWithBefore(t *testing.T) {
	m := func(ms time.Duration) measurement {
		return measurement{
			Requests: 1, Wall: time.Second, CPU: 3, Max: ms * time.Millisecond,
			Before: &measurement{Requests: 2, Wall: time.Second, CPU: 4, Max: time.Millisecond},
		}
	}
	got := *summarizeStalled(load{stalls: true}, []measurement{m(5), m(9), m(2)})
	want := stalledSummary{CPU: 1.5, Rate: 0.5, MaxBeforeMicros: 1000, WorstMicros: 9000}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFloodedIsComparedWithBefore(t *testing.T) {
	m := measurement{
		Requests: 1, Wall: time.Second, P50: 3 * time.Millisecond, P99: 6 * time.Millisecond, Handshakes: 7,
		Before: &measurement{Requests: 2, Wall: time.Second, P50: time.Millisecond, P99: 4 * time.Millisecond},
	}
	got := *summarizeFlooded(load{floods: true}, []measurement{m})
	want := floodedSummary{PerSecond: 7, P99: 1.5, Rate: 0.5, P50Without: 1000, P99Without: 4000}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRotatedStartsElsewhereEachRound(t *testing.T) {
	for round, want := range []string{"abc", "bca", "cab", "abc"} {
		if got := rotated([]byte("abc"), round); string(got) != want {
			t.Errorf("round %d: got %s, want %s", round, got, want)
		}
	}
	if got := rotated([]byte(nil), 1); len(got) > 0 {
		t.Errorf("got %q for no elements", got)
	}
}

func TestHistogramIsExactWithinTwoPerCent(t *testing.T) {
	var h histogram
	for i := 1; i <= 10_000; i++ {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, test := range []struct {
		q    float64
		want time.Duration
	}{{0.5, 5 * time.Millisecond}, {0.99, 9900 * time.Microsecond}, {0, time.Microsecond}} {
		got := h.quantile(test.q)
		if diff := (got - test.want).Abs(); diff > test.want/50 {
			t.Errorf("quantile %v: got %v, want %v", test.q, got, test.want)
		}
	}
}

func TestBucketsCoverEveryDuration(t *testing.T) {
	for shift := range 63 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1<<shift/2} {
			i := bucket(v)
			if i < 0 || i >= buckets {
				t.Fatalf("%d falls in bucket %d of %d", v, i, buckets)
			}
			if bucket(uint64(middle(i))) != i {
				t.Errorf("the middle %d of bucket %d is not in it", middle(i), i)
			}
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-servers", "wireline,bufio", "-loads", "ping50", "-rounds", "1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.servers) != 2 || o.servers[0].name != naive || len(o.loads) != 1 || o.loads[0].conns != 50 || o.rounds != 1 {
		t.Errorf("got %+v", o)
	}
	if o.idle != 0 || o.tlsIdle != 0 || o.kvSource != "" {
		t.Errorf("with -loads: %d idle clients, %q", o.idle, o.kvSource)
	}
	if o, err := parse([]string{"-loads", "", "-idle", "7"}, io.Discard); err != nil || len(o.loads) != 0 || o.idle != 7 {
		t.Errorf("idle clients alone: got %+v, %v", o, err)
	}
	if o, err := parse(nil, io.Discard); err != nil || len(o.loads) != len(loads) || o.idle == 0 || o.kvSource == "" {
		t.Errorf("everything: got %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-servers", "apache"}, {"-loads", "ping"}, {"-sleep", "0"}, {"-rounds", "0"}, {"-duration", "0"}, {"-idle", "-1"}, {"-tls-idle", "-1"}, {"extra"}} {
		if _, err := parse(bad, io.Discard); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: got %v", err)
	}
}
