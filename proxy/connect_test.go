package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/proxy"
)

// An upstream that refuses costs the client nothing: the next one gets all that it has
// sent.
func TestNextUpstream(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		live, name := newUpstream(t, tr.upstream)
		s := tr.serve(t, proxy.Config{Upstreams: []string{refusedPort(t), refusedPort(t), name}})
		s.upstream = live
		for range 6 {
			client := s.connect()
			send(t, client, "early")
			upstream := s.accept()
			receive(t, upstream, "early")
		}
		for i, u := range s.proxy.Upstreams() {
			switch {
			case i < 2 && (u.Connections != 0 || u.Failures == 0 || u.Active != 0):
				t.Errorf("upstream %d, which refuses: %+v", i, u)
			case i == 2 && (u.Connections != 6 || u.Active != 6 || !u.Up):
				t.Errorf("upstream %d, which serves: %+v", i, u)
			}
		}
	})
}

func TestNoUpstream(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		dead := []string{refusedPort(t), refusedPort(t)}
		s := tr.serve(t, proxy.Config{Upstreams: dead})
		client, err := s.dial() // it may be reset already
		if err == nil {
			s.watch(client)
			_, err = client.Read(make([]byte, 1))
		}
		if ended(err) != "reset" && tr.upstream != "unix" {
			t.Errorf("the client sees %v, want a reset", err)
		}
		r := s.records.Next(t)
		const windowsRefused = syscall.Errno(10061) // WSAECONNREFUSED
		isRefused := errors.Is(r.Err, syscall.ECONNREFUSED) || errors.Is(r.Err, windowsRefused)
		if r.Reason != handler.ReasonNoUpstream || r.By != handler.ByServer || !slices.Contains(dead, r.Upstream) ||
			!isRefused || strings.Count(r.Err.Error(), "refused") != 2 {
			t.Errorf("record %+v", r)
		}
	})
}

// A connect that takes too long is given up.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	full, name := fullListener(t)
	defer full()
	live, liveName := newUpstream(t, "tcp")
	tr := transports[0]
	s := tr.serve(t, proxy.Config{Upstreams: []string{name, liveName}, ConnectTimeout: time.Second})
	s.upstream = live
	for range 2 {
		client := s.connect()
		send(t, client, "x")
		receive(t, s.accept(), "x")
	}
	if u := s.proxy.Upstreams()[0]; u.Failures != 1 || u.Connections != 0 {
		t.Errorf("the upstream that does not answer: %+v", u)
	}
}

// fullListener has a queue without room, so the kernel does not answer a further SYN.
func fullListener(t *testing.T) (done func(), name string) {
	t.Helper()
	ln, name := newUpstream(t, "tcp")
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { listenAgain(fd, 0) })
	var conns []net.Conn
	for {
		conn, err := net.DialTimeout("tcp", name, 200*time.Millisecond)
		if err != nil {
			break
		}
		if conns = append(conns, conn); len(conns) > 1000 {
			t.Skip("this system's queue does not get full")
		}
	}
	return func() {
		for _, conn := range conns {
			conn.Close()
		}
	}, name
}

// A unix socket whose queue is full is one that takes its time, and no failure: clients
// wait for room, for as long as they may.
func TestUnixUpstreamWithAFullQueue(t *testing.T) {
	for _, tr := range []transport{transports[2], transports[4]} {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			ln, name, queued := fullUnixListener(t)
			s := tr.serve(t, proxy.Config{
				Upstreams:      []string{name},
				ConnectTimeout: patience,
				Health:         proxy.HealthConfig{Fall: 1, Retry: patience},
			})
			client := s.connect()
			send(t, client, "hello")
			eventually(t, "the client", func() bool { return s.proxy.Len() == 1 })
			waited := time.NewTimer(300 * time.Millisecond)
			defer waited.Stop()
			select {
			case r := <-s.records.All:
				t.Fatalf("the client does not wait: %+v", r)
			case <-waited.C:
			}
			for range queued {
				acceptFrom(t, ln).Close()
			}
			receive(t, s.watch(acceptFrom(t, ln)), "hello")
			if u := s.proxy.Upstreams()[0]; !u.Up || u.Failures != 0 {
				t.Errorf("%+v, want no failure", u)
			}
		})
	}
}

// Where there is no room for as long as a connect may take, that is a failure, as it is
// with TCP, and the next upstream is tried.
func TestUnixUpstreamWhoseQueueStaysFull(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	_, name, _ := fullUnixListener(t)
	live, liveName := newUpstream(t, "tcp")
	s := transports[0].serve(t, proxy.Config{
		Upstreams:      []string{name, liveName},
		ConnectTimeout: time.Second,
		Health:         proxy.HealthConfig{Fall: 1, Retry: time.Hour},
	})
	s.upstream = live
	began := time.Now()
	for range 2 { // one of them is sent to the full one first
		client := s.connect()
		send(t, client, "x")
		receive(t, s.accept(), "x")
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("given up after %v", took)
	}
	if u := s.proxy.Upstreams()[0]; u.Up || u.Failures != 1 {
		t.Errorf("the upstream without room: %+v", u)
	}
}

// fullUnixListener has a queue without room, and so many in it.
func fullUnixListener(t *testing.T) (ln net.Listener, name string, queued int) {
	t.Helper()
	ln, name = newUpstream(t, "unix")
	raw, err := ln.(*net.UnixListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { listenAgain(fd, 0) })
	for ; queued < 1000; queued++ {
		conn, err := net.Dial("unix", ln.Addr().String())
		if errors.Is(err, syscall.EAGAIN) {
			return ln, name, queued
		}
		if err != nil {
			break
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this system does not tell that a queue is full")
	return nil, "", 0
}

// 2,000 clients at once, and an upstream that refuses: each is told so, and nothing is
// left behind. TestMain looks for goroutines.
func TestStorm(t *testing.T) {
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{refusedPort(t)}})
	var wg sync.WaitGroup
	for range 2000 {
		wg.Go(func() {
			conn, err := net.DialTimeout("tcp", s.server.Addr, patience)
			if err != nil {
				return // reset already
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			if _, err := conn.Read(make([]byte, 1)); ended(err) != "reset" {
				t.Errorf("a client sees %v", err)
			}
		})
	}
	wg.Wait()
	for range 2000 {
		s.records.Next(t)
	}
	if n := s.proxy.Len(); n != 0 {
		t.Errorf("%d clients are left", n)
	}
	if u := s.proxy.Upstreams()[0]; u.Active != 0 || u.Up {
		t.Errorf("the upstream: %+v", u)
	}
}

// The client's address goes before its first byte.
func TestSendProxy(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		if tr.upstream == "tls" {
			t.Skip("see TestSendProxyBeforeTLS")
		}
		for _, version := range []proxy.SendProxy{proxy.SendProxyV1, proxy.SendProxyV2} {
			for _, size := range []int{0, 1} { // of the pool
				t.Run(fmt.Sprintf("%s, pool %d", version, size), func(t *testing.T) {
					s := tr.serve(t, proxy.Config{SendProxy: version, Pool: proxy.PoolConfig{Size: size}})
					client := s.connect()
					send(t, client, "hello")
					// Of the pool's connections, only the client's says something.
					first, err := firstToSpeak(t, s, 1+size)
					if err != nil {
						t.Fatal(err)
					}
					conn := proxyproto.NewConn(first)
					receive(t, conn, "hello")
					want := client.LocalAddr().String()
					if h := conn.ProxyHeader(); tr.name == "unix" || tr.name == "unix by goroutine" {
						if h == nil {
							t.Error("no header")
						}
					} else if got := conn.RemoteAddr().String(); got != want || h == nil || h.DestinationAddr.String() != client.RemoteAddr().String() {
						t.Errorf("the header says %s to %v, want %s to %v", got, h, want, client.RemoteAddr())
					}
				})
			}
		}
	})
}

// firstToSpeak accepts up to n connections and returns one on which something comes.
func firstToSpeak(t *testing.T, s *served, n int) (net.Conn, error) {
	t.Helper()
	spoken := make(chan *peeked, n)
	for range n {
		conn := s.accept()
		go func() {
			p := &peeked{Conn: conn, first: make([]byte, 1)}
			if _, p.err = io.ReadFull(conn, p.first); p.err == nil {
				spoken <- p
			}
		}()
	}
	select {
	case p := <-spoken:
		return p, nil
	case <-time.After(patience):
		return nil, errors.New("nobody says anything")
	}
}

// peeked is a connection whose first byte was read already.
type peeked struct {
	net.Conn
	first []byte
	err   error
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// A client that came by the PROXY protocol itself is passed on as who it is.
func TestSendProxyOfAProxiedClient(t *testing.T) {
	tr := transports[0]
	tr.listen = func(t *testing.T) (net.Listener, func() (net.Conn, error)) {
		ln, dial := listenTCP(t)
		return proxyListener{&proxyproto.Listener{Listener: ln}}, dial
	}
	s := tr.serve(t, proxy.Config{SendProxy: proxy.SendProxyV2})
	client := s.connect()
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
	h := proxyproto.HeaderProxyFromAddrs(1, from, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80})
	if _, err := h.WriteTo(client); err != nil {
		t.Fatal(err)
	}
	send(t, client, "hello")
	conn := proxyproto.NewConn(s.accept())
	receive(t, conn, "hello")
	if got := conn.RemoteAddr().String(); got != from.String() {
		t.Errorf("the upstream is told %s, want %s", got, from)
	}
	client.Close()
	conn.Close()
	if r := s.records.Next(t); r.Peer.String() != from.String() {
		t.Errorf("the record says %s, want %s", r.Peer, from)
	}
}

type proxyListener struct{ *proxyproto.Listener }

func (l proxyListener) SetDeadline(t time.Time) error {
	return testutil.SetDeadline(l.Listener.Listener, t)
}

func TestValidate(t *testing.T) {
	if err := (&proxy.Proxy{Config: proxy.Config{}}).Validate(); !errors.Is(err, proxy.ErrNoUpstreams) {
		t.Errorf("without upstreams: %v", err)
	}
	for _, test := range []struct {
		cfg  proxy.Config
		want string
	}{
		{proxy.Config{Upstreams: []string{"a:1", "localhost"}}, "Upstreams localhost: must be host:port or unix:PATH"},
		{proxy.Config{Upstreams: []string{":80"}}, "must be host:port"},
		{proxy.Config{Upstreams: []string{"a:http"}}, "must have a port from 1 to 65535"},
		{proxy.Config{Upstreams: []string{"a:0"}}, "must have a port from 1 to 65535"},
		{proxy.Config{Upstreams: []string{"unix:"}}, "needs a path"},
		{proxy.Config{Balance: "best"}, "Balance best: must be round_robin"},
		{proxy.Config{SendProxy: "v3"}, "SendProxy v3: must be"},
		{proxy.Config{HalfCloseTimeout: -1}, "HalfCloseTimeout -1ns: must not be negative"},
		{proxy.Config{Health: proxy.HealthConfig{Rise: -1}}, "Health.Rise -1: must not be negative"},
		{proxy.Config{Pool: proxy.PoolConfig{Reuse: true}}, "Pool.Reuse true: needs a pool"},
		{proxy.Config{SendProxy: "v1", Pool: proxy.PoolConfig{Size: 1, Reuse: true}}, "cannot go with send_proxy"},
	} {
		if len(test.cfg.Upstreams) == 0 {
			test.cfg.Upstreams = []string{"[::1]:80", "unix:/run/s"}
		}
		if err := (&proxy.Proxy{Config: test.cfg}).Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.cfg, err, test.want)
		}
	}
}
