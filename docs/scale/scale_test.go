package main

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// The committed page has the tables that the program writes.
func TestPageIsCurrent(t *testing.T) {
	if testutil.Reduced() {
		t.Skip("it takes seconds: the run without the race detector compares")
	}
	page, err := os.ReadFile("../scale.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := fill(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, want) {
		t.Error("docs/scale.md is out of date: go run ./docs/scale")
	}
}

func TestFillReplacesTheTables(t *testing.T) {
	for _, bad := range []string{"", "<!-- memory: go run ./docs/scale -->\n"} {
		if _, err := fill([]byte(bad)); err == nil {
			t.Errorf("%q was filled", bad)
		}
	}
	var r rows
	r.add("a", 1)
	r.add("b", 2)
	if got, want := string(r.markdown()), "| a | 1 |\n|---|---|\n| b | 2 |\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestServerComputesOneHandshakeAfterTheOther(t *testing.T) {
	var s server
	for _, test := range []struct {
		at, cost, want time.Duration
		ok             bool
	}{
		{0, 2 * time.Second, 2 * time.Second, true},
		{time.Second, 9 * time.Second, 11 * time.Second, true},
		{time.Second, 2 * time.Second, 0, false}, // it would take until 13 s
		{1500 * time.Millisecond, 500 * time.Millisecond, 11500 * time.Millisecond, true},
		{20 * time.Second, time.Second, 21 * time.Second, true},
	} {
		if got, ok := s.come(test.at, test.cost); got != test.want || ok != test.ok {
			t.Errorf("at %v: %v, %t; want %v, %t", test.at, got, ok, test.want, test.ok)
		}
	}
	if s.connects[0] != 1 || s.connects[1] != 3 || s.connects[20] != 1 {
		t.Errorf("connects %v", s.connects)
	}
}

func TestStormBringsEveryClientBack(t *testing.T) {
	for name, wait := range map[string]wait{"full jitter": fullJitter, "no jitter": noJitter, "steady": steady} {
		for _, outage := range []time.Duration{0, 3 * time.Second, time.Minute} {
			// The handshakes of all take 30 s: longer than a client waits for one.
			s := storm{clients: 2000, outage: outage, wait: wait, cost: 45 * time.Millisecond, balance: random}
			servers := make([]server, 3)
			servers[1].down = true
			o := s.run(servers, newSource())
			if len(o.connected) != s.clients || servers[0].clients+servers[2].clients != s.clients || servers[1].clients != 0 {
				t.Errorf("%s, %v: %d clients are back, %d, %d and %d on the servers", name, outage,
					len(o.connected), servers[0].clients, servers[1].clients, servers[2].clients)
			}
			if o.connected[0] < s.cost || o.after(1) < time.Duration(s.clients/2)*s.cost {
				t.Errorf("%s, %v: connected after %v to %v", name, outage, o.connected[0], o.after(1))
			}
		}
	}
}

func TestSimulationIsTheSameEachTime(t *testing.T) {
	s := storm{clients: 1000, outage: 10 * time.Second, wait: fullJitter, cost: time.Millisecond, balance: bestOfTwo}
	first, second := s.run(make([]server, 4), newSource()), s.run(make([]server, 4), newSource())
	if !slices.Equal(first.connected, second.connected) {
		t.Error("two runs differ")
	}
}

// That is what jitter is for.
func TestJitterSpreadsTheConnects(t *testing.T) {
	busiest := func(w wait) int {
		s := storm{clients: 1000, outage: time.Minute, wait: w, cost: time.Millisecond, balance: random}
		return s.run(make([]server, 1), newSource()).busiest
	}
	if with, without := busiest(fullJitter), busiest(noJitter); with*5 > without {
		t.Errorf("%d connects in the busiest second, %d without jitter", with, without)
	}
}

func TestBalance(t *testing.T) {
	all := []server{{clients: 1, down: true}, {clients: 9}, {clients: 5}, {clients: 7}}
	source := newSource()
	if got := fewest(all, source); got != &all[2] {
		t.Errorf("fewest chose %+v", got)
	}
	chosen := make(map[*server]int)
	for range 1000 {
		chosen[random(all, source)]++
		if s := bestOfTwo(all, source); s.down {
			t.Fatal("the best of two is down")
		}
	}
	if len(chosen) != 3 || chosen[&all[0]] > 0 {
		t.Errorf("random chose %v", chosen)
	}
}

// A client whose machine was not restarted yet may lose its connection again.
func TestRolloutMovesEveryClient(t *testing.T) {
	for _, at := range []int{1, 30} {
		out := rollout{at, fewest}.run()
		if out.moves < 1 || out.moves > 1.3 || out.busiest == 0 || out.slowest == 0 {
			t.Errorf("%d at a time: %+v", at, out)
		}
	}
}
