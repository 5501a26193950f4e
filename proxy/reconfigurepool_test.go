package proxy_test

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/proxy"
)

// userTimeoutUnit is zero where there is no UserTimeout.
var userTimeoutUnit = func() time.Duration {
	if runtime.GOOS == "linux" {
		return time.Minute
	}
	return 0
}()

// A pool gets its size, and the connections in it stay if they are still of use.
func TestReconfigurePoolSize(t *testing.T) {
	s := transports[0].serve(t, proxy.Config{})
	s.pair()
	size := func(n int) { s.t.Helper(); s.reconfigure(func(c *proxy.Config) { c.Pool.Size = n }); s.awaitPool(n) }
	size(3)
	made := s.proxy.Upstreams()[0].Connects
	var waiting []net.Conn
	for range 3 {
		waiting = append(waiting, s.accept())
	}
	s.reconfigure(func(c *proxy.Config) { c.Balance, c.IdleTimeout = proxy.BalanceRandom, time.Minute })
	size(1)
	for _, conn := range waiting[:2] { // the oldest ones
		receiveAll(t, conn, "")
	}
	send(t, waiting[2], "greeting")
	receive(t, s.connect(), "greeting")
	s.awaitPool(1)
	if n := s.proxy.Upstreams()[0].Connects; n != made+1 {
		t.Errorf("%d connects, want one after the first %d", n, made)
	}
	size(0)
}

// Connections are replaced that were made with other settings of TLS, PROXY header or socket.
func TestReconfigureEmptiesPools(t *testing.T) {
	for name, change := range map[string]func(c *proxy.Config){
		"TLS":          func(c *proxy.Config) { c.TLS = proxy.TLS{Enable: true, Insecure: true} },
		"send_proxy":   func(c *proxy.Config) { c.SendProxy = proxy.SendProxyV2 },
		"keepalive":    func(c *proxy.Config) { c.KeepAlive.Idle = time.Minute },
		"user_timeout": func(c *proxy.Config) { c.UserTimeout = userTimeoutUnit },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "user_timeout" && userTimeoutUnit == 0 {
				t.Skip("there is none")
			}
			s := transports[0].serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 2}})
			s.awaitPool(2)
			old := []net.Conn{s.accept(), s.accept()}
			s.reconfigure(change)
			for _, conn := range old {
				receiveAll(t, conn, "")
			}
			s.accept() // another one is made at once
		})
	}
}

// A connection that a pair gives back is not used again if the settings have changed meanwhile.
func TestReconfigureReuse(t *testing.T) {
	for name, change := range map[string]func(c *proxy.Config){
		"off":       func(c *proxy.Config) { c.Pool.Reuse = false },
		"keepalive": func(c *proxy.Config) { c.KeepAlive.Idle = time.Minute },
		"removed":   func(c *proxy.Config) { c.Upstreams = []string{"127.0.0.1:1"} },
		"no":        func(c *proxy.Config) { c.Balance = proxy.BalanceRandom },
	} {
		t.Run(name, func(t *testing.T) {
			s := transports[0].serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 2, Reuse: true, ReuseQuiet: time.Millisecond}})
			s.awaitPool(2)
			client := s.connect()
			upstream := s.accept()
			s.upstream.Close() // the connection that comes back has room
			send(t, upstream, "x")
			receive(t, client, "x")
			s.reconfigure(change)
			client.Close()
			s.records.Next(t)
			if name == "no" {
				eventually(t, "the connection to come back", func() bool { return s.pool().Reused == 1 })
				return
			}
			receiveAll(t, upstream, "")
		})
	}
}

// A new MaxIdle holds for the connections that wait.
func TestReconfigureMaxIdle(t *testing.T) {
	s := transports[0].serve(t, proxy.Config{Pool: proxy.PoolConfig{Size: 1}})
	s.awaitPool(1)
	s.reconfigure(func(c *proxy.Config) { c.Pool.MaxIdle = 10 * time.Millisecond })
	receiveAll(t, s.accept(), "")
	if s.pool().Expired == 0 {
		t.Errorf("the pool is %+v", s.pool())
	}
}

// countingUpstream counts the connections to it, and closes them when its peer does.
func countingUpstream(t *testing.T) (name string, connects *atomic.Int64) {
	t.Helper()
	ln, name := newUpstream(t, "tcp")
	connects = new(atomic.Int64)
	go serveEach(ln, func(conn net.Conn) {
		connects.Add(1)
		io.Copy(io.Discard, conn)
		conn.Close()
	})
	return name, connects
}

// Checks begin, go on at another pace, and end, with the settings and with the upstream.
func TestReconfigureChecks(t *testing.T) {
	name, connects := countingUpstream(t)
	other, otherConnects := countingUpstream(t)
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}})
	interval := func(d time.Duration) { s.reconfigure(func(c *proxy.Config) { c.Health.Interval = d }) }
	ends := func(n *atomic.Int64) {
		t.Helper()
		eventually(t, "checks to end", func() bool {
			before := n.Load()
			return !testutil.Soon(300*time.Millisecond, func() bool { return n.Load() > before })
		})
	}
	goOn := func(n *atomic.Int64) {
		t.Helper()
		before := n.Load()
		eventually(t, "checks", func() bool { return n.Load() > before+3 })
	}
	interval(5 * time.Millisecond)
	goOn(connects)
	interval(time.Hour)
	ends(connects)
	interval(10 * time.Millisecond)
	goOn(connects)
	s.relayTo(other)
	ends(connects)
	goOn(otherConnects)
	s.relayTo(other, name)
	goOn(connects)
	interval(0)
	ends(connects)
	ends(otherConnects)
}

// The settings of checks are the new ones, also for an upstream that is down.
func TestReconfigureHealth(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}, Health: proxy.HealthConfig{Interval: 5 * time.Millisecond, Fall: 1 << 30}})
	ln.Close()
	eventually(t, "failures", func() bool { return s.proxy.Upstreams()[0].Failures > 5 })
	if !s.up() {
		t.Error("down too early")
	}
	s.reconfigure(func(c *proxy.Config) { c.Health.Fall, c.Health.Rise = 1, 1<<30 })
	eventually(t, "the upstream to be down", func() bool { return !s.up() })
	go discardAll(map[string]net.Listener{name: relisten(t, name)})
	eventually(t, "checks", func() bool { return s.proxy.Upstreams()[0].Connects > 5 })
	if s.up() {
		t.Error("up too early")
	}
	s.reconfigure(func(c *proxy.Config) { c.Health.Rise = 1 })
	eventually(t, "the upstream to be up", s.up)
}
