package proxy_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
)

// streams moves bytes both ways between two connections, until stop, and checks each of them.
type streams struct {
	t     *testing.T
	conns []net.Conn
	all   sync.WaitGroup
	stop  atomic.Bool
}

func (s *streams) between(client, upstream net.Conn) {
	s.conns = append(s.conns, client, upstream)
	for seed, way := range [][2]net.Conn{{client, upstream}, {upstream, client}} {
		key := [32]byte{byte(seed)}
		s.all.Go(func() { s.write(way[0], rand.NewChaCha8(key)) })
		s.all.Go(func() { s.read(way[1], rand.NewChaCha8(key)) })
	}
}

func (s *streams) write(to net.Conn, text io.Reader) {
	for b := make([]byte, 64<<10); !s.stop.Load(); {
		io.ReadFull(text, b)
		if _, err := to.Write(b); err != nil {
			s.t.Errorf("write: %v", err)
			return
		}
	}
	closeWrite(s.t, to)
}

// end ends the streams, and closes the connections.
func (s *streams) end() {
	s.stop.Store(true)
	s.all.Wait()
	for _, conn := range s.conns {
		conn.Close()
	}
}

func (s *streams) read(from net.Conn, text io.Reader) {
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(from, got)
		io.ReadFull(text, want)
		if !bytes.Equal(got[:n], want[:n]) || err == io.ErrUnexpectedEOF {
			s.t.Errorf("another byte has come, or one is missing: %v", err)
			return
		}
		if err != nil {
			if err != io.EOF {
				s.t.Errorf("read: %v", err)
			}
			return
		}
	}
}

// A hundred reconfigurations do not touch the pairs that there are, and leave nothing behind.
func TestReconfigureUnderLoad(t *testing.T) {
	testutil.Long(t)
	for _, name := range []string{"tcp", "TLS to TLS", "memory"} {
		t.Run(name, func(t *testing.T) { testReconfigureUnderLoad(t, named(name)) })
	}
}

func testReconfigureUnderLoad(t *testing.T, tr transport) {
	other, connects := countingUpstream(t)
	s := tr.serve(t, proxy.Config{})
	client, upstream := s.pair() // what is made once
	client.Close()
	upstream.Close()
	s.records.Next(t)
	var goroutines int
	eventually(t, "the same goroutines for a while", func() bool {
		goroutines = runtime.NumGoroutine()
		return !testutil.Soon(200*time.Millisecond, func() bool { return runtime.NumGoroutine() != goroutines })
	})
	const pairs = 4
	files := testutil.OpenFiles(t) + 2*pairs*2 // a pipe for each stream
	load := &streams{t: t}
	for range pairs {
		client, upstream := s.pair()
		for _, conn := range []net.Conn{client, upstream} {
			conn.SetDeadline(time.Now().Add(20 * patience))
		}
		load.between(client, upstream)
	}
	first := s.cfg
	changes := []func(c *proxy.Config){
		func(c *proxy.Config) { c.Upstreams = append(c.Upstreams, other) },
		func(c *proxy.Config) { c.Upstreams = []string{other + " weight=7"} },
		func(c *proxy.Config) { c.Balance = proxy.BalanceSourceHash },
		func(c *proxy.Config) { c.IdleTimeout, c.HalfCloseIdle, c.HalfCloseTimeout = 1, 1, 1 },
		func(c *proxy.Config) { c.DrainQuiet, c.DrainReply, c.ConnectTimeout = 1, 1, time.Minute },
		func(c *proxy.Config) { c.Health = proxy.HealthConfig{Interval: time.Millisecond, Fall: 1 << 30} },
		func(c *proxy.Config) { c.TLS = proxy.TLS{Enable: true, CA: upstreamCA(t), ServerName: "upstream"} },
		func(c *proxy.Config) { c.TLS = proxy.TLS{} },
		func(c *proxy.Config) { c.KeepAlive.Idle, c.UserTimeout = time.Minute, userTimeoutUnit },
		func(c *proxy.Config) { c.SendProxy = proxy.SendProxyV2 },
		func(c *proxy.Config) { c.Upstreams, c.Pool.Size = []string{other}, 3 },
		func(c *proxy.Config) { c.Upstreams, c.Pool.Size = append(c.Upstreams, other, other), 1 },
	}
	for i := range 100 {
		s.reconfigure(func(c *proxy.Config) {
			*c = first
			changes[i%len(changes)](c)
		})
	}
	s.reconfigure(func(c *proxy.Config) { c.Upstreams, c.Health.Interval = []string{other}, time.Millisecond })
	eventually(t, "checks", func() bool { return connects.Load() > 0 })
	s.reconfigure(func(c *proxy.Config) { *c = first })
	if u := s.proxy.Upstreams(); len(u) != 1 || u[0].Active != pairs || u[0].Connections != pairs+1 {
		t.Errorf("the upstreams are %+v", u)
	}
	load.end()
	for range pairs {
		if r := s.records.Next(t); r.Reason != handler.ReasonFIN {
			t.Errorf("a pair ended: %+v", r)
		}
	}
	if !testutil.Soon(patience, func() bool { return runtime.NumGoroutine() <= goroutines && testutil.OpenFiles(t) <= files }) {
		text := make([]byte, 1<<20)
		t.Errorf("%d goroutines for %d, %d descriptors for %d\n%s", runtime.NumGoroutine(), goroutines, testutil.OpenFiles(t), files, text[:runtime.Stack(text, true)])
	}
}
