package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"wireline/handler"
	"wireline/proxy"
)

// sessions is a tls.ClientSessionCache.
type sessions struct {
	get, put func()
	tls.ClientSessionCache
}

func newSessions(get, put func()) sessions {
	return sessions{get, put, tls.NewLRUClientSessionCache(1)}
}

func (s sessions) Get(key string) (*tls.ClientSessionState, bool) {
	s.get()
	return s.ClientSessionCache.Get(key)
}

func (s sessions) Put(key string, session *tls.ClientSessionState) {
	s.put()
	s.ClientSessionCache.Put(key, session)
}

// callbacks are those of a tls.Config that take part in a handshake. KeyLogWriter is left out:
// crypto/tls calls it under a lock of all connections of the process.
var callbacks = map[string]func(c *tls.Config, f func()){
	"GetClientCertificate": func(c *tls.Config, f func()) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			f()
			return &tls.Certificate{}, nil
		}
	},
	"VerifyPeerCertificate": func(c *tls.Config, f func()) {
		c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			f()
			return nil
		}
	},
	"VerifyConnection": func(c *tls.Config, f func()) {
		c.VerifyConnection = func(tls.ConnectionState) error {
			f()
			return nil
		}
	},
	"Get": func(c *tls.Config, f func()) { c.ClientSessionCache = newSessions(f, func() {}) },
}

// ownConfig starts a proxy with a tls.Config of the program's, which change may change.
func ownConfig(t *testing.T, cfg proxy.Config, change func(*tls.Config)) *served {
	t.Helper()
	ln, name := newUpstream(t, "tcp")
	cfg.Upstreams = []string{name}
	server := upstreamConfig(t)
	server.ClientAuth = tls.RequestClientCert
	own := upstreamAuthority(t).Client("upstream")
	change(own)
	s := transports[0].serveWith(t, cfg, own)
	s.upstream = listenHandshakes(t, ln, server)
	return s
}

// A function of Proxy.TLSConfig that blocks, panics or ends its goroutine makes the connect
// fail, in time, and costs nobody else anything.
func TestTLSConfigFunctionFails(t *testing.T) {
	t.Parallel()
	opened := make(chan struct{})
	t.Cleanup(func() { close(opened) })
	for how, do := range map[string]struct {
		f    func()
		want error
	}{
		"blocks": {func() { <-opened }, context.DeadlineExceeded},
		"panics": {func() { panic("as asked") }, proxy.ErrPanicked},
		"Goexit": {runtime.Goexit, proxy.ErrPanicked},
	} {
		for name, set := range callbacks {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				var bad atomic.Bool
				bad.Store(true)
				cfg := proxy.Config{ConnectTimeout: time.Second, Health: proxy.HealthConfig{Fall: 1 << 20}}
				if how != "blocks" {
					cfg.ConnectTimeout = time.Hour
				}
				s := ownConfig(t, cfg, func(c *tls.Config) {
					set(c, func() {
						if bad.Load() {
							do.f()
						}
					})
				})
				began := time.Now()
				if err := s.refused(); !errors.Is(err, do.want) {
					t.Errorf("error %v, want %v", err, do.want)
				}
				if took := time.Since(began); took > time.Second+slack {
					t.Errorf("took %v", took)
				}
				if u := s.proxy.Upstreams()[0]; u.Failures != 1 || u.Active != 0 {
					t.Errorf("upstream %+v", u)
				}
				eventually(t, "the end of the pair", func() bool { return s.proxy.Len() == 0 })
				bad.Store(false)
				client, upstream := s.pair()
				client.Close()
				receiveAll(t, upstream, "")
				upstream.Close()
				if err := s.shutdown(patience); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		}
	}
}

// A drain does not wait for a function that blocks longer than for any other connect.
func TestDrainWhileAFunctionBlocks(t *testing.T) {
	opened, entered := make(chan struct{}), make(chan struct{}, 10)
	t.Cleanup(func() { close(opened) })
	s := ownConfig(t, proxy.Config{ConnectTimeout: time.Hour}, func(c *tls.Config) {
		c.VerifyConnection = func(tls.ConnectionState) error {
			entered <- struct{}{}
			<-opened
			return nil
		}
	})
	client := s.connect()
	<-entered
	began := time.Now()
	s.shutdown(200 * time.Millisecond)
	if took := time.Since(began); took > slack {
		t.Errorf("took %v", took)
	}
	receiveReset(t, client)
	if r := s.records.Next(t); r.Reason != handler.ReasonCut {
		t.Errorf("reason %s", r.Reason)
	}
}

// The session comes after the handshake, where nothing may wait: whatever Put does, the pair
// goes on.
func TestTLSConfigPutFails(t *testing.T) {
	t.Parallel()
	opened := make(chan struct{})
	t.Cleanup(func() { close(opened) })
	for name, f := range map[string]func(){
		"blocks": func() { <-opened },
		"panics": func() { panic("as asked") },
		"Goexit": runtime.Goexit,
	} {
		for _, pooled := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				cfg := proxy.Config{}
				if pooled {
					cfg.Pool.Size = 1
				}
				put := make(chan struct{}, 1000)
				s := ownConfig(t, cfg, func(c *tls.Config) {
					c.ClientSessionCache = newSessions(func() {}, func() {
						put <- struct{}{}
						f()
					})
				})
				for range 20 {
					var upstream net.Conn
					if pooled {
						upstream = s.accept()
						s.awaitPool(1)
					}
					client := s.connect()
					if !pooled {
						upstream = s.accept()
					}
					send(t, client, "hello")
					receive(t, upstream, "hello")
					send(t, upstream, "more")
					receive(t, client, "more")
					client.Close()
					receiveAll(t, upstream, "")
					upstream.Close()
					if r := s.records.Next(t); r.Reason != handler.ReasonFIN {
						t.Fatalf("record %+v", r)
					}
				}
				if len(put) == 0 {
					t.Error("Put is not called")
				}
			})
		}
	}
}
