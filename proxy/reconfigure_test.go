package proxy_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/proxy"
)

// reconfigure changes the configuration in force.
func (s *served) reconfigure(change func(c *proxy.Config)) {
	s.t.Helper()
	s.cfg.Upstreams = slices.Clone(s.cfg.Upstreams)
	change(&s.cfg)
	if err := s.proxy.Reconfigure(s.cfg); err != nil {
		s.t.Fatal(err)
	}
}

// relayTo makes these the upstreams.
func (s *served) relayTo(upstreams ...string) {
	s.t.Helper()
	s.reconfigure(func(c *proxy.Config) { c.Upstreams = upstreams })
}

// names returns the names of the upstreams, with their states.
func (s *served) names() (list []string) {
	for _, u := range s.proxy.Upstreams() {
		list = append(list, u.Name+" "+string(u.State))
	}
	return list
}

// pairTo relays a byte each way to the upstream at ln.
func (s *served) pairTo(ln net.Listener) (client, upstream net.Conn) {
	s.t.Helper()
	s.upstream = ln
	return s.pair()
}

// exchange relays bytes each way.
func exchange(t *testing.T, client, upstream net.Conn) {
	t.Helper()
	send(t, client, "question")
	receive(t, upstream, "question")
	send(t, upstream, "answer")
	receive(t, client, "answer")
}

// If a configuration is bad, nothing changes.
func TestReconfigureBad(t *testing.T) {
	s := transports[0].serve(t, proxy.Config{})
	before := s.names()
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for want, change := range map[string]func(c *proxy.Config){
		"no upstreams":     func(c *proxy.Config) { c.Upstreams = nil },
		"Upstreams nobody": func(c *proxy.Config) { c.Upstreams = []string{"a:1", "nobody"} },
		"TLS.CA":           func(c *proxy.Config) { c.TLS = proxy.TLS{Enable: true, CA: missing} },
		"Pool.Reuse true":  func(c *proxy.Config) { c.Upstreams, c.Pool.Reuse = []string{"a:1"}, true },
	} {
		cfg := s.cfg
		change(&cfg)
		err := s.proxy.Reconfigure(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if bad := (*field.Error)(nil); want != "no upstreams" && !errors.As(err, &bad) {
			t.Errorf("%v is no field.Error", err)
		}
	}
	if after := s.names(); !slices.Equal(before, after) {
		t.Errorf("the upstreams are %v, and were %v", after, before)
	}
	s.pair()
}

// New clients go to the new upstreams. Those of a removed one go on, and it is listed until the last
// of them has ended.
func TestReconfigureUpstreams(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		a, nameA := newUpstream(t, tr.upstream)
		b, nameB := newUpstream(t, tr.upstream)
		s := tr.serve(t, proxy.Config{Upstreams: []string{nameA}})
		client, upstream := s.pairTo(a)
		s.relayTo(nameB)
		if got := s.names(); !slices.Equal(got, []string{nameB + " up", nameA + " removed"}) {
			t.Errorf("the upstreams are %v", got)
		}
		for range 3 {
			s.pairTo(b)
		}
		for _, change := range []proxy.UpstreamChange{{State: proxy.UpstreamUp}, weighing(3)} {
			if err := s.proxy.SetUpstream(nameA, change); !errors.Is(err, proxy.ErrNoSuchUpstream) || !strings.Contains(err.Error(), "was removed") {
				t.Errorf("a change of a removed upstream: %v", err)
			}
		}
		if err := s.proxy.SetUpstream(nameB, proxy.UpstreamChange{State: proxy.UpstreamRemoved}); err == nil {
			t.Error("the state removed was set")
		}
		exchange(t, client, upstream)
		if u := s.proxy.Upstreams()[1]; u.Active != 1 || u.Connections != 1 {
			t.Errorf("the removed upstream is %+v", u)
		}
		client.Close()
		upstream.Close()
		s.records.Next(t)
		if got := s.names(); !slices.Equal(got, []string{nameB + " up"}) {
			t.Errorf("at the end the upstreams are %v", got)
		}
	})
}

// An upstream that is added again while it has pairs goes on counting. Otherwise it is new: up, with
// the weight of the configuration.
func TestReconfigureAddsAgain(t *testing.T) {
	a, nameA := newUpstream(t, "tcp")
	_, nameB := newUpstream(t, "tcp")
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{nameA}})
	client, upstream := s.pairTo(a)
	if err := s.proxy.SetUpstream(nameA, proxy.UpstreamChange{State: proxy.UpstreamDrain, Weight: new(9)}); err != nil {
		t.Fatal(err)
	}
	s.relayTo(nameB)
	s.relayTo(nameA)
	if u := s.proxy.Upstreams(); len(u) != 1 || u[0].State != proxy.UpstreamUp || u[0].Weight != 1 || u[0].Active != 1 || u[0].Connections != 1 {
		t.Errorf("with a pair: %+v", u)
	}
	exchange(t, client, upstream)
	s.pairTo(a)
	if u := s.proxy.Upstreams()[0]; u.Active != 2 || u.Connections != 2 {
		t.Errorf("with two pairs: %+v", u)
	}
	s.relayTo(nameB)
	s.server.Close()
	for range 2 {
		s.records.Next(t)
	}
	if got := s.names(); !slices.Equal(got, []string{nameB + " up"}) {
		t.Errorf("the upstreams are %v", got)
	}
}

// What SetUpstream has set survives, until the configuration of that upstream changes its weight.
func TestReconfigureKeepsWhatWasSet(t *testing.T) {
	s := weigh(t, proxy.Config{}, 1, 1)
	names := []string{s.proxy.Upstreams()[0].Name, s.proxy.Upstreams()[1].Name}
	weighs := func(want int) {
		t.Helper()
		if u := s.proxy.Upstreams(); u[0].Name != names[0] || u[0].Weight != want || u[1].Weight != 1 {
			t.Errorf("the upstreams are %+v, want the weight %d", u, want)
		}
	}
	set := func(c proxy.UpstreamChange) {
		t.Helper()
		if err := s.proxy.SetUpstream(names[0], c); err != nil {
			t.Fatal(err)
		}
	}
	other := func(c *proxy.Config) { c.IdleTimeout += time.Hour }
	set(weighing(5))
	s.reconfigure(other)
	weighs(5)
	s.relayTo(names[0]+" weight=3", names[1])
	weighs(3)
	set(proxy.UpstreamChange{State: proxy.UpstreamDrain, Weight: new(7)})
	s.reconfigure(other)
	weighs(7)
	s.relayTo(names[0], names[1])
	weighs(1)
	s.connectMany(4)
	if u := s.proxy.Upstreams(); u[0].State != proxy.UpstreamDrain || u[0].Connections != 0 || u[1].Connections != 4 {
		t.Errorf("the upstreams are %+v, want the first one drained", u)
	}
}

// An upstream that is down stays so, and its counts stay.
func TestReconfigureKeepsHealth(t *testing.T) {
	dead := refusedPort(t)
	live, liveName := newUpstream(t, "tcp")
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{dead, liveName}, Health: proxy.HealthConfig{Fall: 1, Retry: time.Hour}})
	for s.up() {
		s.pairTo(live)
	}
	before := s.proxy.Upstreams()
	s.reconfigure(func(c *proxy.Config) { slices.Reverse(c.Upstreams); c.Health.Fall = 5 })
	after := s.proxy.Upstreams()
	if d, b := after[1], before[0]; d.Name != dead || d.Up || d.Since != b.Since || d.Err != b.Err || d.Failures != b.Failures {
		t.Errorf("the upstream that is down was %+v, and is %+v", b, d)
	}
	if l, b := after[0], before[1]; l.Connections != b.Connections || l.Connects != b.Connects || l.Active != b.Active || l.ConnectTimes.Count != b.ConnectTimes.Count {
		t.Errorf("the upstream that is up was %+v, and is %+v", b, l)
	}
	s.reconfigure(func(c *proxy.Config) { c.Health.Retry = time.Millisecond })
	eventually(t, "a client to try it again", func() bool {
		s.pairTo(live)
		return s.proxy.Upstreams()[1].Failures > before[0].Failures
	})
}

// Clients are spread as if nobody had reconfigured the proxy, by any balance.
func TestReconfigureKeepsTurns(t *testing.T) {
	for _, balance := range []proxy.Balance{proxy.BalanceRoundRobin, proxy.BalanceLeastConn} {
		t.Run(string(balance), func(t *testing.T) {
			s := weigh(t, proxy.Config{Balance: balance}, 5, 1, 0, 2)
			for range 16 {
				s.connectMany(1)
				s.reconfigure(func(c *proxy.Config) { c.ConnectTimeout += time.Second })
			}
			if got := counts(s.proxy); !slices.Equal(got, []uint64{10, 2, 0, 4}) {
				t.Errorf("%v, want 10, 2, 0, 4", got)
			}
			for i, u := range s.proxy.Upstreams() {
				if u.Active != []int{10, 2, 0, 4}[i] {
					t.Errorf("upstream %d has %d clients", i, u.Active)
				}
			}
		})
	}
	t.Run("an upstream more", func(t *testing.T) {
		s := weigh(t, proxy.Config{Balance: proxy.BalanceLeastConn}, 1)
		s.connectMany(3)
		ln, name := newUpstream(t, "tcp")
		go discardAll(map[string]net.Listener{name: ln})
		s.reconfigure(func(c *proxy.Config) { c.Upstreams = append(c.Upstreams, name) })
		s.connectMany(3)
		if got := counts(s.proxy); !slices.Equal(got, []uint64{3, 3}) {
			t.Errorf("%v, want the new one to get clients until it has as many", got)
		}
	})
}

// When an upstream is removed, only its own clients move; a new order moves none.
func TestReconfigureSourceHash(t *testing.T) {
	const clients = 4000
	names := []string{"a:1", "b:1 weight=2", "c:1", "a:1"}
	x := &proxy.Proxy{Config: proxy.Config{Balance: proxy.BalanceSourceHash, Upstreams: names}}
	x.Log = slog.New(slog.DiscardHandler)
	defer x.Close()
	choices := func() (list []string) {
		all := x.Upstreams()
		for _, i := range proxy.Choices(x, clients) {
			list = append(list, all[i].Name)
		}
		return list
	}
	reconfigure := func(names ...string) {
		t.Helper()
		if err := x.Reconfigure(proxy.Config{Balance: proxy.BalanceSourceHash, Upstreams: names}); err != nil {
			t.Fatal(err)
		}
	}
	before := choices()
	reconfigure("c:1", "a:1", "a:1", "b:1 weight=2")
	if after := choices(); !slices.Equal(before, after) {
		t.Error("another order moves clients")
	}
	reconfigure("c:1", "a:1", "a:1")
	moved := 0
	for i, to := range choices() {
		if to != before[i] {
			moved++
			if before[i] != "b:1" {
				t.Fatalf("client %d went from %s to %s", i, before[i], to)
			}
		}
	}
	if moved < clients/4 {
		t.Errorf("%d clients have moved", moved)
	}
}

// The pairs that there are keep their timeouts; those of new clients are the new ones.
func TestReconfigureTimeouts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(c *proxy.Config, short time.Duration)
		begin  func(client net.Conn)
		reason handler.Reason
	}{
		{"idle", func(c *proxy.Config, short time.Duration) { c.IdleTimeout = short }, func(net.Conn) {}, handler.ReasonIdleTimeout},
		{"half-close idle", func(c *proxy.Config, short time.Duration) { c.HalfCloseIdle = short }, func(c net.Conn) { closeWrite(t, c) }, handler.ReasonIdleTimeout},
		{"half-close", func(c *proxy.Config, short time.Duration) { c.HalfCloseTimeout = short }, func(c net.Conn) { closeWrite(t, c) }, handler.ReasonHalfCloseTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testutil.InTime(t, time.Second, func(short time.Duration) error {
				s := transports[0].serve(t, proxy.Config{HalfCloseIdle: -1})
				old, oldUpstream := s.pair()
				test.begin(old)
				s.reconfigure(func(c *proxy.Config) { test.change(c, short) })
				begin := time.Now()
				next, _, err := s.tryPair()
				if err == nil {
					test.begin(next)
				}
				if time.Since(begin) >= short {
					return testutil.ErrLate
				}
				if err != nil {
					t.Fatal(err)
				}
				if r := s.records.Next(t); r.Reason != test.reason || r.ID != 2 {
					t.Errorf("client %d ends by %s, want %s of the new one", r.ID, r.Reason, test.reason)
				}
				send(t, oldUpstream, "still there")
				receive(t, old, "still there")
				return nil
			})
		})
	}
}

// In a drain, each pair is quiet after the time that it began with.
func TestReconfigureDrain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *proxy.Config){
		"quiet": func(c *proxy.Config) { c.DrainQuiet = time.Millisecond },
		"reply": func(c *proxy.Config) { c.DrainQuiet, c.DrainReply = time.Millisecond, -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := transports[0].serve(t, proxy.Config{DrainQuiet: time.Hour, DrainReply: time.Hour})
			s.pair()
			s.reconfigure(change)
			client, upstream := s.pair()
			if name == "reply" {
				send(t, client, "question")
				receive(t, upstream, "question")
			}
			ctx, cut := context.WithCancel(t.Context())
			defer cut()
			var stop sync.WaitGroup
			stop.Go(func() { s.server.Shutdown(ctx) })
			for _, want := range []handler.Reason{handler.ReasonDrain, handler.ReasonCut} {
				if r := s.records.Next(t); r.Reason != want {
					t.Errorf("client %d ends by %s, want %s", r.ID, r.Reason, want)
				}
				cut() // the other one would stay for an hour
			}
			stop.Wait()
		})
	}
}

// The balance is another one at once.
func TestReconfigureBalance(t *testing.T) {
	s := weigh(t, proxy.Config{}, 1, 1, 1)
	s.connectMany(6)
	s.reconfigure(func(c *proxy.Config) { c.Balance = proxy.BalanceSourceHash })
	s.connectMany(5)
	got := counts(s.proxy)
	slices.Sort(got)
	if !slices.Equal(got, []uint64{2, 2, 7}) {
		t.Errorf("%v, want all further clients at one upstream", got)
	}
}

// New clients are announced to the upstream, or not, as the new configuration says.
func TestReconfigureSendProxy(t *testing.T) {
	s := transports[0].serve(t, proxy.Config{})
	s.pair()
	s.reconfigure(func(c *proxy.Config) { c.SendProxy = proxy.SendProxyV1 })
	s.connect()
	receive(t, s.accept(), "PROXY TCP4 ")
	s.reconfigure(func(c *proxy.Config) { c.SendProxy = "" })
	s.pair()
}

// TLS is turned on, given another authority, and turned off.
func TestReconfigureTLS(t *testing.T) {
	plain, plainName := newUpstream(t, "tcp")
	ln, name := newUpstream(t, "tcp")
	speaksTLS := listenHandshakes(t, ln, upstreamConfig(t))
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{plainName}})
	old, oldUpstream := s.pairTo(plain)
	s.reconfigure(func(c *proxy.Config) { c.Upstreams, c.TLS = []string{name}, trusted(t) })
	client, upstream := s.pairTo(speaksTLS)
	s.reconfigure(func(c *proxy.Config) { c.TLS.CA = writeFile(t, "other.pem", testutil.NewAuthority(t).PEM) })
	s.isReset()
	s.records.Next(t)
	s.reconfigure(func(c *proxy.Config) { c.TLS = proxy.TLS{Enable: true, Insecure: true} })
	s.pairTo(speaksTLS)
	s.reconfigure(func(c *proxy.Config) { c.TLS = proxy.TLS{Enable: true, CA: upstreamCA(t), ServerName: "another"} })
	s.isReset()
	s.records.Next(t)
	s.reconfigure(func(c *proxy.Config) { c.Upstreams, c.TLS = []string{plainName}, proxy.TLS{} })
	s.pairTo(plain)
	exchange(t, old, oldUpstream)
	exchange(t, client, upstream)
}

// A client whose connect fails goes on with the new upstreams, or the same one and the new
// settings, as if it had come later.
func TestReconfigureDuringConnect(t *testing.T) {
	t.Parallel()
	waits := func(t *testing.T, s *served) (client net.Conn) {
		t.Helper()
		client = s.connect()
		send(t, client, "x")
		eventually(t, "the client", func() bool { return s.proxy.Len() == 1 && s.proxy.Upstreams()[0].Active == 1 })
		return client
	}
	t.Run("another upstream", func(t *testing.T) {
		t.Parallel()
		full, name := fullListener(t)
		defer full()
		s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}, ConnectTimeout: time.Second})
		waits(t, s)
		ln, live := newUpstream(t, "tcp")
		s.relayTo(refusedPort(t), live)
		receive(t, s.watch(acceptFrom(t, ln)), "x")
		if got := s.names(); len(got) != 2 || got[1] != live+" up" {
			t.Errorf("the upstreams are %v", got)
		}
	})
	t.Run("other settings", func(t *testing.T) {
		t.Parallel()
		s := transports[0].serve(t, proxy.Config{TLS: proxy.TLS{Enable: true, Insecure: true}, ConnectTimeout: time.Second})
		waits(t, s)
		silent := s.accept()
		s.reconfigure(func(c *proxy.Config) { c.TLS, c.SendProxy = proxy.TLS{}, proxy.SendProxyV1 })
		conn := s.accept()
		receive(t, conn, "PROXY TCP4 ")
		io.Copy(io.Discard, silent) // it was given up
	})
	t.Run("the old upstream answers", func(t *testing.T) {
		t.Parallel()
		ln, name, queued := fullUnixListener(t)
		s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}, ConnectTimeout: patience})
		client := waits(t, s)
		s.relayTo(refusedPort(t))
		if got := s.names(); len(got) != 2 || got[1] != name+" removed" {
			t.Errorf("the upstreams are %v", got)
		}
		for range queued {
			acceptFrom(t, ln).Close()
		}
		upstream := s.watch(acceptFrom(t, ln))
		receive(t, upstream, "x")
		exchange(t, client, upstream)
	})
	t.Run("nobody is left", func(t *testing.T) {
		t.Parallel()
		full, name := fullListener(t)
		defer full()
		s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}, ConnectTimeout: time.Second})
		client := waits(t, s)
		dead := refusedPort(t)
		s.relayTo(dead)
		receiveReset(t, client)
		if r := s.records.Next(t); r.Reason != handler.ReasonNoUpstream || r.Upstream != dead {
			t.Errorf("the record is %+v", r)
		}
	})
}

// Before the first use, and after the end, nothing begins.
func TestReconfigureWithoutClients(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	accepted := acceptAll(ln)
	cfg := proxy.Config{
		Upstreams: []string{name}, Pool: proxy.PoolConfig{Size: 2}, Health: proxy.HealthConfig{Interval: time.Hour},
	}
	x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"127.0.0.1:1"}}, Log: slog.New(slog.DiscardHandler)}
	before := runtime.NumGoroutine()
	if err := x.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no goroutine to be left", func() bool { return runtime.NumGoroutine() <= before })
	x.Start()
	eventually(t, "the pool", func() bool { return x.Upstreams()[0].Pool.Idle == 2 })
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Upstreams = []string{"127.0.0.1:2"}
	if err := x.Reconfigure(cfg); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if got := x.Upstreams(); len(got) != 1 || got[0].Name != name {
		t.Errorf("after Close the upstreams are %+v", got)
	}
	ln.Close()
	<-accepted
}

// Everything at the same time.
func TestReconfigureAtOnce(t *testing.T) {
	var names []string
	upstreams := map[string]net.Listener{}
	for range 4 {
		ln, name := newUpstream(t, "tcp")
		names, upstreams[name] = append(names, name), ln
	}
	go discardAll(upstreams)
	s := transports[0].serve(t, proxy.Config{Upstreams: names})
	var all sync.WaitGroup
	for n := range 3 {
		all.Go(func() {
			cfg := s.cfg
			for i := range 100 {
				cfg.Upstreams = slices.Concat(names[i%4:], names[:i%4])[:1+(i+n)%4]
				cfg.Pool.Size = i % 3
				cfg.Health.Interval = time.Duration(i%2) * time.Millisecond
				cfg.UserTimeout = time.Duration(i%5) * userTimeoutUnit
				if err := s.proxy.Reconfigure(cfg); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for i := range 300 {
			err := s.proxy.SetUpstream(names[i%4], weighing(1+i%7))
			if err != nil && !errors.Is(err, proxy.ErrNoSuchUpstream) {
				t.Error(err)
			}
			s.proxy.Upstreams()
		}
	})
	all.Go(func() {
		for range 100 {
			client, err := s.dial()
			if err != nil {
				t.Error(err)
				return
			}
			s.watch(client)
			send(t, client, "x")
			closeWrite(t, client)
			receiveAll(t, client, "") // no client fails
			client.Close()
		}
	})
	all.Wait()
	for range 100 {
		if r := s.records.Next(t); r.Reason != handler.ReasonFIN {
			t.Errorf("the record is %+v", r)
		}
	}
	s.relayTo(names...)
	eventually(t, "all pairs to be forgotten", func() bool {
		return len(s.names()) == 4 && !slices.ContainsFunc(s.proxy.Upstreams(), func(u proxy.UpstreamStats) bool { return u.Active != 0 })
	})
}

// Prepare changes nothing; what it returns needs no file any more, and begins anew if another
// configuration is in force by then.
func TestPrepare(t *testing.T) {
	ca := writeFile(t, "ca.pem", upstreamAuthority(t).PEM)
	cfg := func(upstream string) proxy.Config {
		return proxy.Config{Upstreams: []string{upstream}, TLS: proxy.TLS{Enable: true, CA: ca}}
	}
	x := &proxy.Proxy{Config: cfg("127.0.0.1:1"), Log: slog.New(slog.DiscardHandler)}
	prepare := func(upstream string) func() error {
		t.Helper()
		commit, err := x.Prepare(cfg(upstream))
		if err != nil {
			t.Fatal(err)
		}
		return commit
	}
	check := func(err error, want string) {
		t.Helper()
		if got := x.Upstreams(); err != nil || len(got) != 1 || got[0].Name != want {
			t.Errorf("%v; the upstreams are %v, want %s", err, got, want)
		}
	}
	if _, err := x.Prepare(proxy.Config{}); !errors.Is(err, proxy.ErrNoUpstreams) {
		t.Errorf("no upstreams: %v", err)
	}
	first, second, third := prepare("127.0.0.1:2"), prepare("127.0.0.1:3"), prepare("127.0.0.1:4")
	check(nil, "127.0.0.1:1")
	check(second(), "127.0.0.1:3")
	check(first(), "127.0.0.1:2")
	last := prepare("127.0.0.1:5")
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	if err := third(); err == nil { // it has to read the file once more
		t.Error("no error without the file")
	}
	check(nil, "127.0.0.1:2")
	check(last(), "127.0.0.1:5")
	late, err := x.Prepare(proxy.Config{Upstreams: []string{"127.0.0.1:6"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := late(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
}
