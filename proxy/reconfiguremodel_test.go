package proxy

import (
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"
)

// reconfigurable returns a proxy that does not serve.
func reconfigurable(t *testing.T, cfg Config) *Proxy {
	t.Helper()
	x := &Proxy{Config: cfg, Log: slog.New(slog.DiscardHandler)}
	x.init()
	t.Cleanup(func() { x.Close() })
	return x
}

func (x *Proxy) mustReconfigure(t *testing.T, cfg Config) {
	t.Helper()
	if err := x.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
}

// A client whose upstream is removed between its choice and its count gets another one.
func TestClaimAfterRemoval(t *testing.T) {
	x := reconfigurable(t, Config{Upstreams: []string{"127.0.0.1:1"}})
	old := x.settings.Load()
	c := old.choose(&pair{settings: old})
	x.mustReconfigure(t, Config{Upstreams: []string{"127.0.0.1:2"}})
	if u := c.claim(); u == nil || u.name != "127.0.0.1:2" || u.active.Load() != 1 {
		t.Error("the client does not get the new upstream")
	}
	if n := old.upstreams[0].active.Load(); n != 0 {
		t.Errorf("the removed upstream has %d clients", n)
	}
}

// A connect that began before connections were made in another way says nothing of the upstream.
func TestConnectsOfAnotherGeneration(t *testing.T) {
	cfg := Config{Upstreams: []string{"127.0.0.1:1"}, Health: HealthConfig{Fall: 1}}
	x := reconfigurable(t, cfg)
	old := x.settings.Load()
	cfg.SendProxy = SendProxyV1
	x.mustReconfigure(t, cfg)
	u, now, refused := old.upstreams[0], x.settings.Load(), errors.New("refused")
	check := func(what string, want bool) {
		t.Helper()
		if up, _, _ := u.health.state(); up != want {
			t.Errorf("after %s: up is %t", what, up)
		}
	}
	u.noteFailure(old, refused)
	check("an old failure", true)
	u.noteFailure(now, refused)
	check("a failure", false)
	u.noteSuccess(old, time.Second)
	check("an old success", false)
	u.noteSuccess(now, time.Second)
	check("a success", true)
}

// A connection in a pool is for clients with the settings that it was made with.
func TestPoolOfAnotherGeneration(t *testing.T) {
	cfg := Config{Upstreams: []string{"127.0.0.1:1"}, Pool: PoolConfig{Size: 2, Reuse: true}}
	x := reconfigurable(t, cfg)
	old := x.settings.Load()
	cfg.SendProxy = SendProxyV1
	cfg.Pool.Reuse = false
	x.mustReconfigure(t, cfg)
	now, pool := x.settings.Load(), &old.upstreams[0].pool
	conn := func() net.Conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		return ours
	}
	pool.put(conn(), false, old.generation)
	if n := pool.stats().Idle; n != 0 {
		t.Errorf("a connection made with the old settings is in the pool")
	}
	pool.put(conn(), false, now.generation)
	if pool.get(old) != nil {
		t.Error("a client with the old settings got a connection made with the new ones")
	}
	if n := pool.stats().Idle; n != 1 {
		t.Errorf("%d connections in the pool, want 1", n)
	}
}

// An upstream that is removed while it has a pair, and added again, begins anew: up, and in turn.
func TestAddedAgainBeginsAnew(t *testing.T) {
	const a, b = "127.0.0.1:1 weight=5", "127.0.0.1:2"
	both, one := Config{Upstreams: []string{a, b}, Health: HealthConfig{Fall: 2}}, Config{Upstreams: []string{b}}
	x := reconfigurable(t, both)
	u := x.settings.Load().upstreams[0]
	u.active.Add(1) // a pair
	next := func() string {
		s := x.settings.Load()
		c := s.choose(&pair{settings: s})
		return c.next().name
	}
	again := func() {
		t.Helper()
		x.mustReconfigure(t, one)
		x.mustReconfigure(t, both)
		if x.settings.Load().upstreams[0] != u {
			t.Fatal("it is another one")
		}
	}
	for range 3 {
		next() // of its five turns
	}
	again()
	if got := next(); got != u.name {
		t.Errorf("the first client goes to %s", got)
	}
	u.health.failed(time.Now(), errors.New("refused"))
	again()
	u.health.failed(time.Now(), errors.New("refused"))
	if up, _, _ := u.health.state(); !up {
		t.Error("it is down after one failure")
	}
	u.health.failed(time.Now(), errors.New("refused"))
	again()
	if up, _, _ := u.health.state(); !up {
		t.Error("it is down")
	}
}
