package proxy_test

import (
	"io"
	"net"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/proxy"
)

// up reports whether the first upstream is.
func (s *served) up() bool { return s.proxy.Upstreams()[0].Up }

// relisten listens where a listener that was closed did.
func relisten(t *testing.T, name string) net.Listener {
	t.Helper()
	var ln net.Listener
	eventually(t, "the port", func() bool {
		var err error
		ln, err = net.Listen("tcp", name) // its last connections may still be there
		return err == nil
	})
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Without checks, failed connects of clients are what counts, and after a while one
// client is sent to see.
func TestPassiveHealth(t *testing.T) {
	testutil.Long(t)
	dead, live := deadPort(t), ""
	ln, live := newUpstream(t, "tcp")
	go discardAll(map[string]net.Listener{live: ln})
	const retry = 2 * time.Second
	s := transports[0].serve(t, proxy.Config{
		Upstreams: []string{dead, live},
		Health:    proxy.HealthConfig{Fall: 2, Retry: retry},
	})
	ask := func() string {
		s.connect().Close()
		return s.records.Next(t).Upstream
	}
	for s.up() {
		if got := ask(); got != live {
			t.Fatalf("a client was sent to %s", got)
		}
	}
	failures := s.proxy.Upstreams()[0].Failures
	if failures != 2 {
		t.Errorf("down after %d failures, want 2", failures)
	}
	for range 10 { // nobody is sent there now
		ask()
	}
	if n := s.proxy.Upstreams()[0].Failures; n > failures+1 {
		t.Errorf("%d clients were sent to an upstream that is down", n-failures)
	}
	back := relisten(t, dead)
	go discardAll(map[string]net.Listener{dead: back})
	eventually(t, "the upstream that is dead", func() bool { return ask() == dead })
	if !s.up() {
		t.Error("down, though it serves")
	}
}

// Checks find out before clients do, both ways.
func TestActiveHealth(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	go discardAll(map[string]net.Listener{name: ln})
	s := transports[0].serve(t, proxy.Config{
		Upstreams: []string{name},
		Health:    proxy.HealthConfig{Interval: 10 * time.Millisecond, Rise: 3, Fall: 2},
	})
	if !s.up() {
		t.Error("down from the beginning")
	}
	ln.Close()
	eventually(t, "the upstream to be down", func() bool { return !s.up() })
	if n := s.proxy.Upstreams()[0].Failures; n < 2 { // a further check may have failed by now
		t.Errorf("down after %d failures, want 2", n)
	}
	go discardAll(map[string]net.Listener{name: relisten(t, name)})
	eventually(t, "the upstream to be up", s.up)
	if u := s.proxy.Upstreams()[0]; u.Connections != 0 {
		t.Errorf("%+v: checks count as clients", u)
	}
}

// With send_proxy, a check sends a header that names no client, and nothing else.
func TestCheckSendsAHeader(t *testing.T) {
	for version, want := range map[proxy.SendProxy]string{
		proxy.SendProxyOff: "",
		proxy.SendProxyV1:  "PROXY UNKNOWN\r\n",
		proxy.SendProxyV2:  "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		for _, tr := range []transport{transports[0], named("unix")} {
			s := tr.serve(t, proxy.Config{SendProxy: version, Health: proxy.HealthConfig{Interval: time.Millisecond}})
			got, err := io.ReadAll(s.accept())
			if string(got) != want || err != nil {
				t.Errorf("%s over %s: a check sends %q, %v; want %q", version, tr.name, got, err, want)
			}
		}
	}
}

// Where all are down, they are tried all the same.
func TestAllDown(t *testing.T) {
	name := deadPort(t)
	s := transports[0].serve(t, proxy.Config{Upstreams: []string{name}, Health: proxy.HealthConfig{Fall: 1, Retry: time.Hour}})
	if client, err := s.dial(); err == nil { // or it is reset already
		client.Close()
	}
	s.records.Next(t)
	if s.up() {
		t.Fatal("up")
	}
	s.upstream = relisten(t, name)
	client := s.connect()
	send(t, client, "x")
	receive(t, s.accept(), "x")
}
