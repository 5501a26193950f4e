package proxy_test

import (
	"slices"
	"testing"
	"time"

	"wireline/handler"
	"wireline/proxy"
)

func onlyPair(t *testing.T, x *proxy.Proxy) handler.Live {
	t.Helper()
	all := slices.Collect(x.Live())
	if len(all) != 1 {
		t.Fatalf("%d live pairs, want 1", len(all))
	}
	return all[0]
}

// A pair is seen while it lasts, and can be ended from outside.
func TestLive(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		send(t, client, "abc")
		receive(t, upstream, "abc")
		var l handler.Live
		eventually(t, "the counts", func() bool { // a write is counted when it returns, after its bytes have arrived
			l = onlyPair(t, s.proxy)
			return l.BytesIn == 4 && l.BytesOut == 1 && proxy.Delivered(s.proxy)
		})
		if l.State != handler.StateRelaying || l.Upstream != s.proxy.Config.Upstreams[0] || l.By != "" || l.Pending != 0 || l.Idle > l.Duration+slack {
			t.Errorf("live is %+v", l)
		}
		if total := s.proxy.Totals(); total.Counts != l.Counts || total.Open() != 1 {
			t.Errorf("the totals are %+v", total)
		}
		l.Kick(handler.CloseDefault)
		receiveAll(t, client, "")
		receiveAll(t, upstream, "")
		client.Close()
		upstream.Close()
		r := s.records.Next(t)
		if r.By != handler.ByServer || r.Reason != handler.ReasonKicked {
			t.Errorf("ended by %s: %s", r.By, r.Reason)
		}
		total := s.proxy.Totals()
		if total.Counts != r.Counts || total.Open() != 0 || total.Ended[handler.Cause{By: r.By, Reason: r.Reason}] != 1 {
			t.Errorf("the totals are %+v, the record %+v", total, r)
		}
	})
}

// CloseReset resets both sides, also of a pair that is half closed.
func TestKickReset(t *testing.T) {
	overTransportsAtOnce(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, proxy.Config{})
		client, upstream := s.pair()
		closeWrite(t, client)
		receiveAll(t, upstream, "")
		if tr.name != "TLS of the listener" { // its first FIN ends both directions
			eventually(t, "a half-closed pair", func() bool { return onlyPair(t, s.proxy).State == handler.StateHalfClosed })
		}
		for l := range s.proxy.Live() { // none if both FINs were passed on
			l.Kick(handler.CloseReset)
			l.Kick(handler.CloseReset)
		}
		if r := s.records.Next(t); r.Reason != handler.ReasonKicked && r.Reason != handler.ReasonFIN {
			t.Errorf("ended by %s: %s", r.By, r.Reason)
		}
	})
}

// A pair whose upstream does not answer its connect ends when it is kicked, and not when the connect
// does. That says nothing of the upstream, and the next one is not tried.
func TestKickConnecting(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T) (upstream string, cfg proxy.Config)
	}{
		{"an event loop connects", func(t *testing.T) (string, proxy.Config) {
			done, name := fullListener(t)
			t.Cleanup(done)
			return name, proxy.Config{}
		}},
		{"a goroutine connects", func(t *testing.T) (string, proxy.Config) {
			done, name := fullListener(t)
			t.Cleanup(done)
			return name, proxy.Config{SendProxy: proxy.SendProxyV1}
		}},
		{"a unix socket is full", func(t *testing.T) (string, proxy.Config) {
			_, name, _ := fullUnixListener(t)
			return name, proxy.Config{}
		}},
		{"nobody answers the handshake", func(t *testing.T) (string, proxy.Config) {
			_, name := newUpstream(t, "tcp")
			return name, proxy.Config{TLS: proxy.TLS{Enable: true, Insecure: true}}
		}},
	}
	for _, test := range tests {
		for _, mode := range []handler.CloseMode{handler.CloseDefault, handler.CloseReset} {
			t.Run(test.name+", "+mode.String(), func(t *testing.T) {
				t.Parallel()
				name, cfg := test.setup(t)
				_, next := newUpstream(t, "tcp")
				cfg.Upstreams, cfg.ConnectTimeout, cfg.Health.Fall = []string{name, next}, time.Hour, 1
				s := named("tcp").serve(t, cfg)
				client := s.connect()
				eventually(t, "a connecting pair", func() bool { return s.proxy.Len() == 1 && s.proxy.Upstreams()[0].Active == 1 })
				if state := onlyPair(t, s.proxy).State; state != handler.StateConnecting {
					t.Errorf("the state is %s", state)
				}
				onlyPair(t, s.proxy).Kick(mode)
				receiveReset(t, client)
				if r := s.records.Next(t); r.Reason != handler.ReasonKicked || r.Upstream != name {
					t.Errorf("the record is %+v", r)
				}
				for i, u := range s.proxy.Upstreams() {
					if u.Failures != 0 || u.Active != 0 || u.Connections != 0 || !u.Up {
						t.Errorf("upstream %d is %+v", i, u)
					}
				}
			})
		}
	}
}

// A client that was to find out whether an upstream is up again, and is kicked before it has, leaves
// that to the next one.
func TestKickWhileTrying(t *testing.T) {
	ln, name := newUpstream(t, "tcp")
	_, other := newUpstream(t, "tcp")
	s := named("tcp").serve(t, proxy.Config{
		Upstreams: []string{name, other}, TLS: proxy.TLS{Enable: true, Insecure: true}, ConnectTimeout: time.Hour,
		Health: proxy.HealthConfig{Fall: 1, Retry: time.Hour},
	})
	kickAll := func() {
		t.Helper()
		for l := range s.proxy.Live() {
			l.Kick(handler.CloseReset)
		}
		eventually(t, "the end of all pairs", func() bool { return s.proxy.Len() == 0 })
	}
	s.connect()
	acceptFrom(t, ln).Close()
	eventually(t, "the upstream down", func() bool { return !s.proxy.Upstreams()[0].Up })
	kickAll()
	s.reconfigure(func(c *proxy.Config) { c.Health.Retry = time.Millisecond })
	time.Sleep(2 * time.Millisecond) // until a client may try it
	s.reconfigure(func(c *proxy.Config) { c.Health.Retry = time.Hour })
	for range 2 {
		s.connect()
		s.connect() // each upstream has its turn
		eventually(t, "a client that tries it", func() bool { return s.proxy.Upstreams()[0].Active == 1 })
		kickAll()
	}
	if u := s.proxy.Upstreams()[0]; u.Up || u.Failures != 1 {
		t.Errorf("the upstream is %+v", u)
	}
}
