package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/proxy"
)

// weigh starts a proxy with upstreams of these weights.
func weigh(t *testing.T, cfg proxy.Config, weights ...int) *served {
	t.Helper()
	upstreams := map[string]net.Listener{}
	for _, w := range weights {
		ln, name := newUpstream(t, "tcp")
		upstreams[name] = ln
		cfg.Upstreams = append(cfg.Upstreams, fmt.Sprintf("%s weight=%d", name, w))
	}
	go discardAll(upstreams)
	return transports[0].serve(t, cfg)
}

// weighing is a change of the weight.
func weighing(w int) proxy.UpstreamChange { return proxy.UpstreamChange{Weight: &w} }

// connectMany connects n clients one after the other, which stay.
func (s *served) connectMany(n int) {
	s.t.Helper()
	had := total(counts(s.proxy))
	for i := range n {
		s.connect()
		eventually(s.t, "the connection", func() bool { return total(counts(s.proxy)) == had+uint64(i)+1 })
	}
}

// connectRefused connects a client that is reset at once, perhaps before it knows that it is
// connected.
func (s *served) connectRefused() {
	s.t.Helper()
	if conn, err := s.dial(); err == nil {
		receiveReset(s.t, s.watch(conn))
	}
}

// Each upstream gets clients in proportion to its weight.
func TestWeights(t *testing.T) {
	t.Run("round robin", func(t *testing.T) {
		s := weigh(t, proxy.Config{}, 5, 1, 0, 2)
		s.connectMany(16)
		if got := counts(s.proxy); !slices.Equal(got, []uint64{10, 2, 0, 4}) {
			t.Errorf("%v, want 10, 2, 0, 4", got)
		}
	})
	t.Run("least connections", func(t *testing.T) {
		s := weigh(t, proxy.Config{Balance: proxy.BalanceLeastConn}, 5, 1, 0, 2)
		s.connectMany(16)
		if got := counts(s.proxy); !slices.Equal(got, []uint64{10, 2, 0, 4}) {
			t.Errorf("%v, want 10, 2, 0, 4", got)
		}
	})
	t.Run("random of two", func(t *testing.T) {
		s := weigh(t, proxy.Config{Balance: proxy.BalanceRandom}, 6, 2, 0, 2)
		s.connectMany(100)
		if got := counts(s.proxy); got[0] < 45 || got[0] > 75 || got[1] < 10 || got[2] != 0 || got[3] < 10 {
			t.Errorf("%v, want about 60, 20, 0, 20", got)
		}
	})
}

// Clients are spread by weight, and a change of one weight moves only clients to or from that
// upstream.
func TestWeightedSourceHash(t *testing.T) {
	const clients = 4000
	x := &proxy.Proxy{Config: proxy.Config{Balance: proxy.BalanceSourceHash, Upstreams: []string{"a:1 weight=3", "b:1", "c:1 weight=4"}}}
	before := proxy.Choices(x, clients)
	count := [3]int{}
	for _, i := range before {
		count[i]++
	}
	for i, w := range []int{3, 1, 4} {
		if want := clients * w / 8; count[i] < want*9/10 || count[i] > want*11/10 {
			t.Errorf("upstream %d has %d clients, want about %d", i, count[i], want)
		}
	}
	if err := x.SetUpstream("b:1", weighing(2)); err != nil {
		t.Fatal(err)
	}
	moved := 0
	for i, to := range proxy.Choices(x, clients) {
		if to != before[i] {
			if moved++; to != 1 {
				t.Fatalf("client %d went from %d to %d, though only the weight of 1 has risen", i, before[i], to)
			}
		}
	}
	if moved < clients/20 {
		t.Errorf("%d clients have moved", moved)
	}
}

// A drained upstream gets no new clients, and keeps those that it has.
func TestDrainUpstream(t *testing.T) {
	for _, state := range []proxy.UpstreamState{proxy.UpstreamDrain, proxy.UpstreamDown} {
		t.Run(string(state), func(t *testing.T) {
			first, firstName := newUpstream(t, "tcp")
			second, secondName := newUpstream(t, "tcp")
			s := transports[0].serve(t, proxy.Config{Upstreams: []string{firstName, secondName}})
			client := s.connect()
			send(t, client, "a")
			upstream := s.watch(acceptFrom(t, first))
			receive(t, upstream, "a")
			if err := s.proxy.SetUpstream(firstName, proxy.UpstreamChange{State: state}); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				s.connect()
				s.watch(acceptFrom(t, second))
			}
			send(t, upstream, "still there")
			receive(t, client, "still there")
			if u := s.proxy.Upstreams()[0]; u.State != state || u.Connections != 1 || u.Active != 1 || !u.Up {
				t.Errorf("the upstream is %+v", u)
			}
			if err := s.proxy.SetUpstream(secondName, proxy.UpstreamChange{State: state}); err != nil {
				t.Fatal(err)
			}
			s.connectRefused()
			if r := s.records.Next(t); r.Reason != handler.ReasonNoUpstream || !errors.Is(r.Err, proxy.ErrNoneTakesClients) {
				t.Errorf("without any upstream: %s, %v", r.Reason, r.Err)
			}
			if err := s.proxy.SetUpstream(firstName, proxy.UpstreamChange{State: proxy.UpstreamUp}); err != nil {
				t.Fatal(err)
			}
			s.connect()
			s.watch(acceptFrom(t, first))
		})
	}
}

// An upstream that failed counts as up again when an operator says so.
func TestUpAfterFailure(t *testing.T) {
	name := refusedPort(t)
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}, Health: proxy.HealthConfig{Fall: 1, Retry: time.Hour}})
	s.connectRefused()
	eventually(t, "its failure", func() bool { return !s.proxy.Upstreams()[0].Up })
	u := s.proxy.Upstreams()[0]
	if u.Err == nil || u.Since.IsZero() {
		t.Errorf("down since %v because of %v", u.Since, u.Err)
	}
	if err := s.proxy.SetUpstream(name, proxy.UpstreamChange{State: proxy.UpstreamUp}); err != nil {
		t.Fatal(err)
	}
	if now := s.proxy.Upstreams()[0]; !now.Up || now.Err != nil || now.Since.Before(u.Since) {
		t.Errorf("after it was taken up: %+v", now)
	}
}

// acceptAll accepts connections until ln is closed, and closes them then. The result is closed when
// that is done.
func acceptAll(ln net.Listener) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	return done
}

// An upstream that takes no clients has no pool. One that is down is left alone: it is not checked
// either.
func TestDownIsLeftAlone(t *testing.T) {
	for name, change := range map[string]proxy.UpstreamChange{
		"down":     {State: proxy.UpstreamDown},
		"drain":    {State: proxy.UpstreamDrain},
		"weight 0": weighing(0),
	} {
		t.Run(name, func(t *testing.T) { testLeftAlone(t, change) })
	}
}

func testLeftAlone(t *testing.T, change proxy.UpstreamChange) {
	ln, name := newUpstream(t, "tcp")
	accepted := acceptAll(ln)
	s := transports[0].serve(t, proxy.Config{
		Upstreams: []string{name},
		Pool:      proxy.PoolConfig{Size: 2},
		Health:    proxy.HealthConfig{Interval: 50 * time.Millisecond},
	})
	upstream := func() proxy.UpstreamStats { return s.proxy.Upstreams()[0] }
	set := func(c proxy.UpstreamChange) {
		t.Helper()
		if err := s.proxy.SetUpstream(name, c); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the pool", func() bool { return upstream().Pool.Idle == 2 })
	eventually(t, "a check", func() bool { return upstream().Connects > 2 })
	set(change)
	if n := upstream().Pool.Idle; n != 0 {
		t.Errorf("%d connections are left in the pool", n)
	}
	settled := upstream().Connects + 2 // a check and a connect of the pool may be under way
	if change.State == proxy.UpstreamDown {
		if testutil.Soon(500*time.Millisecond, func() bool { return upstream().Connects > settled }) {
			t.Error("it is still connected to")
		}
	} else {
		eventually(t, "checks", func() bool { return upstream().Connects > settled })
	}
	if n := upstream().Pool.Idle; n != 0 {
		t.Errorf("%d connections are in the pool again", n)
	}
	if change.State == "" {
		set(weighing(1))
	} else {
		set(proxy.UpstreamChange{State: proxy.UpstreamUp})
	}
	eventually(t, "checks and the pool", func() bool { return upstream().Connects > settled+2 && upstream().Pool.Idle == 2 })
	ln.Close()
	<-accepted
}

// After a change of the weights, round robin goes by the new ones alone.
func TestWeightsFromNowOn(t *testing.T) {
	s := weigh(t, proxy.Config{}, 256, 1)
	s.connectMany(100) // the second is owed nearly a turn
	first := s.proxy.Upstreams()[0].Name
	if err := s.proxy.SetUpstream(first, weighing(1)); err != nil {
		t.Fatal(err)
	}
	before := counts(s.proxy)
	s.connectMany(10)
	after := counts(s.proxy)
	if got := []uint64{after[0] - before[0], after[1] - before[1]}; !slices.Equal(got, []uint64{5, 5}) {
		t.Errorf("%v, want 5, 5", got)
	}
}

// A change has one line in the log, which names who wants it.
func TestUpstreamChangeIsLogged(t *testing.T) {
	var text bytes.Buffer
	x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"a:1"}}, Log: slog.New(slog.NewTextHandler(&text, nil))}
	if err := x.SetUpstream("a:1", proxy.UpstreamChange{State: proxy.UpstreamDrain, Weight: new(7), By: "10.0.0.1:99"}); err != nil {
		t.Fatal(err)
	}
	logger.Flush(testutil.Patience)
	if got, want := text.String(), "msg=\"upstream changed\" upstream=a:1 state=drain weight=7 client=10.0.0.1:99\n"; strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, want) {
		t.Errorf("the log is %q, want %q", got, want)
	}
}

func TestWrongUpstreamChanges(t *testing.T) {
	x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"a:1", "a:1"}}}
	if err := x.SetUpstream("b:1", proxy.UpstreamChange{State: proxy.UpstreamDown}); !errors.Is(err, proxy.ErrNoSuchUpstream) {
		t.Errorf("a name that is not there: %v", err)
	}
	if err := x.SetUpstream("a:1", proxy.UpstreamChange{State: "sideways"}); err == nil {
		t.Error("a state that is none")
	}
	if err := x.SetUpstream("a:1", proxy.UpstreamChange{State: "sideways", Weight: new(5)}); err == nil || x.Upstreams()[0].Weight != 1 {
		t.Errorf("%v, and the weight is %d", err, x.Upstreams()[0].Weight)
	}
	for _, w := range []int{-1, 257} {
		if err := x.SetUpstream("a:1", weighing(w)); err == nil {
			t.Errorf("the weight %d", w)
		}
	}
	if err := x.SetUpstream("a:1'", weighing(7)); err != nil { // the second of the two
		t.Error(err)
	}
	if u := x.Upstreams(); u[0].Weight != 1 || u[1].Weight != 7 || u[1].Address != "a:1" || u[1].Name != "a:1'" {
		t.Errorf("the upstreams are %+v", u)
	}
	for _, bad := range []string{"a:1 weight=", "a:1 weight=-1", "a:1 weight=257", "a:1 weight=x", "a:1 weight=1 weight=2", "weight=2", "a:1 wait=2", " weight=1"} {
		err := (&proxy.Config{Upstreams: []string{bad}}).Validate()
		if err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
