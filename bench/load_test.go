//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveWrongly answers every connection with reply of the input. It speaks TLS if cfg is not
// nil.
func serveWrongly(t *testing.T, cfg *tls.Config, reply func(conn net.Conn, got []byte)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		if cfg != nil {
			conn = tls.Server(conn, cfg)
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			reply(conn, buf[:n])
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func TestLoadRejectsBadServers(t *testing.T) {
	// A polling load and its server share this process here, so the test is short.
	for _, test := range []struct {
		name  string
		reply func(conn net.Conn, got []byte)
		want  string
	}{
		{"alters a byte", func(conn net.Conn, got []byte) { got[3]++; conn.Write(got) }, "wrong echo"},
		{"repeats", func(conn net.Conn, got []byte) { conn.Write(append(got, got...)) }, "wrong echo"},
		{"is silent", func(net.Conn, []byte) {}, "no reply for"},
		{"closes", func(conn net.Conn, _ []byte) { conn.Close() }, "closed a connection"},
	} {
		for _, cfg := range []*tls.Config{nil, testTLS(t)} {
			t.Run(fmt.Sprintf("%s, TLS %t", test.name, cfg != nil), func(t *testing.T) {
				_, err := measure(task{
					Address: serveWrongly(t, cfg, test.reply),
					Server:  os.Getpid(),
					Conns:   1,
					Depth:   2,
					TLS:     cfg != nil,
					Measure: time.Second,
					Stall:   200 * time.Millisecond,
				})
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
		}
	}
}

func TestAudienceRejectsBadServers(t *testing.T) {
	for _, test := range []struct {
		name  string
		reply func(conn net.Conn, got []byte)
		want  string
	}{
		{"alters a byte", func(conn net.Conn, got []byte) { got[3]++; conn.Write(got) }, "wrong echo"},
		{"is silent", func(net.Conn, []byte) {}, "no line for client 0"},
		{"closes", func(conn net.Conn, _ []byte) { conn.Close() }, "closed a connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := measureAudience(task{
				Address: serveWrongly(t, nil, test.reply),
				Server:  os.Getpid(),
				Conns:   1,
				Measure: time.Second,
				Stall:   200 * time.Millisecond,
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A server that answers the publisher and forgets the members is found out.
func TestAudienceRejectsLostLines(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serveBufio(ctx, ln, echoing, nil) }() // only sends lines back
	_, err = measureAudience(task{
		Address: ln.Addr().(*net.TCPAddr).AddrPort(),
		Server:  os.Getpid(),
		Conns:   2,
		Measure: time.Second,
		Stall:   time.Second,
	})
	cancel()
	if err == nil || !strings.Contains(err.Error(), "no line for client 0") {
		t.Errorf("got %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// testTLS is a server's configuration.
func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certificate.pem")
	if err := writeCertificate(path); err != nil {
		t.Fatal(err)
	}
	cfg, err := serverTLS(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestHandshakesAreOfTheKindThatIsMeasured(t *testing.T) {
	for _, test := range []struct {
		name   string
		resume bool
		cfg    func(*tls.Config)
		want   string
	}{
		{"full", false, func(*tls.Config) {}, ""},
		{"resumed", true, func(*tls.Config) {}, ""},
		{"not resumed", true, func(cfg *tls.Config) { cfg.SessionTicketsDisabled = true }, "the session was resumed: false, want true"},
		{"TLS 1.2", false, func(cfg *tls.Config) { cfg.MinVersion, cfg.MaxVersion = 0, tls.VersionTLS12 }, "handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testTLS(t)
			test.cfg(cfg)
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- serveBufio(ctx, ln, echoing, cfg) }()
			m, err := measureHandshakes(task{
				Address: ln.Addr().(*net.TCPAddr).AddrPort(),
				Server:  os.Getpid(),
				Conns:   3,
				Resume:  test.resume,
				Measure: 20 * time.Millisecond,
				Stall:   10 * time.Second,
			})
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
			if test.want == "" && (err != nil || m.Requests == 0) {
				t.Errorf("%d handshakes, %v", m.Requests, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestStalledFailsIfTheServerDoesNotSleep(t *testing.T) {
	b := newBench(t)
	s, err := findServer(naive)
	if err != nil {
		t.Fatal(err)
	}
	b.sleep = time.Minute
	task := b.task(load{work: echoing, conns: 1, depth: 1, stalls: true}, b.startForTest(t, s, echoing))
	if err := b.runTask(t.Context(), cmdLoad, task, []int{b.loadCore}, nil, &measurement{}); err == nil {
		t.Error("no error although the line was answered at once")
	}
}
