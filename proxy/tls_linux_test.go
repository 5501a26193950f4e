package proxy

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/tcptest"
)

// relayedTLS is a connection through a proxy on its event loop, with TLS on one side or both.
func relayedTLS(t *testing.T, onClient, onUpstream bool) (x *Proxy, dial func() (client, upstream net.Conn)) {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	x = &Proxy{Config: Config{Upstreams: []string{ln.Addr().String()}}}
	x.Log = slog.New(slog.DiscardHandler)
	s := tcptest.NewUnstartedServer(x)
	s.TCP.Log = x.Log
	if onClient {
		s.TCP.TLSConfig = config
	}
	if onUpstream {
		x.Config.TLS = TLS{Enable: true, Insecure: true}
	}
	s.Start()
	t.Cleanup(s.Close)
	return x, func() (client, upstream net.Conn) {
		t.Helper()
		client = testutil.Dial(t, "tcp", s.Addr)
		if onClient {
			client = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
			if err := client.(*tls.Conn).Handshake(); err != nil {
				t.Fatal(err)
			}
		}
		upstream, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		upstream.SetDeadline(time.Now().Add(testutil.Patience))
		t.Cleanup(func() { upstream.Close() })
		if onUpstream {
			upstream = tls.Server(upstream, config)
			if err := upstream.(*tls.Conn).Handshake(); err != nil {
				t.Fatal(err)
			}
		}
		return client, upstream
	}
}

// A stream under TLS, on either side, is never spliced; one without is.
func TestSpliceUnderTLS(t *testing.T) {
	for _, test := range []struct {
		name               string
		onClient, onServer bool
	}{{"neither", false, false}, {"client", true, false}, {"upstream", false, true}, {"both", true, true}} {
		t.Run(test.name, func(t *testing.T) {
			x, dial := relayedTLS(t, test.onClient, test.onServer)
			client, upstream := dial()
			move(t, upstream, client, 16<<20)
			move(t, client, upstream, 16<<20)
			// A pipe is made before the first splice.
			if open, _ := x.pipes.count(); (open == 0) != (test.onClient || test.onServer) {
				t.Errorf("%d pipes were made", open)
			}
			x.pairs.Range(func(p *pair) bool {
				if !p.client.onLoop() || !p.upstream.onLoop() {
					t.Error("a side is not on an event loop")
				}
				if p.client.isBare() == test.onClient || p.upstream.isBare() == test.onServer {
					t.Error("a side has TLS where it should not, or has none")
				}
				return true
			})
		})
	}
}

// While nothing happens, a pair has two descriptors, and neither a goroutine nor a buffer.
func TestIdleUnderTLS(t *testing.T) {
	x, dial := relayedTLS(t, true, true)
	const pairs = 50
	exchange := func(client, upstream net.Conn) {
		t.Helper()
		for _, c := range [][2]net.Conn{{client, upstream}, {upstream, client}} {
			io.WriteString(c[0], "hello")
			if b := make([]byte, 5); true {
				if _, err := io.ReadFull(c[1], b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	exchange(dial()) // what is made once
	goroutines, files := settled(runtime.NumGoroutine), testutil.OpenFiles(t)
	for range pairs {
		exchange(dial())
	}
	if n := settled(runtime.NumGoroutine) - goroutines; n > pairs/10 {
		t.Errorf("%d goroutines more for %d pairs", n, pairs)
	}
	if n := testutil.OpenFiles(t) - files; n > 4*pairs { // two are the test's own
		t.Errorf("%d descriptors for %d pairs", n-2*pairs, pairs)
	}
	x.pairs.Range(func(p *pair) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, s := range []*side{&p.client, &p.upstream} {
			if s.flow.waits() || s.tls.Unsent() > 0 || s.tls.Base() != nil {
				t.Error("an idle pair keeps something")
				return false
			}
		}
		return true
	})
}

// settled calls f until it returns the same several times.
func settled(f func() int) (n int) {
	for same := 0; same < 10; time.Sleep(10 * time.Millisecond) {
		if m := f(); m == n {
			same++
		} else {
			n, same = m, 0
		}
	}
	return n
}
