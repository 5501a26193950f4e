//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary run as the child processes, as main does.
func TestMain(m *testing.M) {
	if code, ok := runChild(os.Args[1:]); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// newBench returns a short benchmark of all servers that this machine can run.
func newBench(t *testing.T) *bench {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		options: options{
			servers:  servers,
			loads:    tinyLoads(),
			rounds:   2,
			tries:    1,
			duration: 20 * time.Millisecond,
			warmup:   10 * time.Millisecond,
			sleep:    100 * time.Millisecond,
			idle:     20,
			tlsIdle:  20,
			pairs:    20,
			rooms:    2000,
			kvSource: "../examples/kv",
			json:     filepath.Join(t.TempDir(), "results.json"),

			tlsIdleFrame: true,
		},
		out:      t.Output(),
		progress: t.Output(),
		self:     self,
	}
	if b.serverCore, b.loadCore, err = twoCores(); err != nil {
		t.Fatal(err)
	}
	skipped, err := b.prepareServers(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, reason := range skipped {
		t.Logf("%s skipped: %s", name, reason)
	}
	return b
}

// tinyLoads are all loads, each with few clients.
func tinyLoads() []load {
	tiny := slices.Clone(loads)
	for i := range tiny {
		tiny[i].conns = min(tiny[i].conns, 5)
		tiny[i].warmup = 0
	}
	return tiny
}

func (b *bench) startForTest(t *testing.T, s server, w work) *running {
	t.Helper()
	r, err := b.startServer(t.Context(), s, w, []int{b.serverCore})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestEveryLoadOnEveryServer(t *testing.T) {
	b := newBench(t)
	b.rounds = 1
	for _, l := range b.loads {
		t.Run(l.name, func(t *testing.T) {
			result, err := b.runLoad(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			least := 3
			if l.work == relaying {
				least = 2 // the others must be installed
			}
			if len(result.Servers) < least {
				t.Errorf("only %d servers support %q", len(result.Servers), l.work)
			}
			for _, s := range result.Servers {
				checkSane(t, l, s.Rounds[0])
			}
			var out bytes.Buffer
			result.print(&out)
			if rows := strings.Count(out.String(), "\n"); rows != 3+len(result.Servers) {
				t.Errorf("%d lines of table for %d servers:\n%s", rows, len(result.Servers), &out)
			}
		})
	}
}

func checkSane(t *testing.T, l load, m measurement) {
	t.Helper()
	if m.Requests <= 0 || m.Requests%int64(max(l.depth, 1)) != 0 {
		t.Errorf("%s: %d requests, want a multiple of the burst of %d", l.name, m.Requests, l.depth)
	}
	if l.bulk != "" && m.Bytes/1e6 != m.Requests {
		t.Errorf("%s: %d bytes are %d MB", l.name, m.Bytes, m.Requests)
	}
	if l.frame > 0 && m.Bytes != m.Requests*int64(l.frame+headSize) {
		t.Errorf("%s: %d bytes in %d frames of %d", l.name, m.Bytes, m.Requests, l.frame)
	}
	if (l.stalls || l.floods) != (m.Before != nil) {
		t.Errorf("%s: the measurement before: %+v", l.name, m.Before)
	}
	if l.floods != (m.Handshakes > 0) {
		t.Errorf("%s: %d handshakes beside it", l.name, m.Handshakes)
	}
	// On a machine that others keep busy, the server may have answered before the clocks were read.
	if m.Wall <= 0 || m.CPU < 0 || m.CPU == 0 && m.Foreign < 0.5 || m.Foreign < 0 {
		t.Errorf("%s: want wall and CPU above zero: %+v", l.name, m)
	}
	if l.bulk != "" {
		return
	}
	// A quantile is exact to 1/64.
	if m.P50 <= 0 || m.P99 < m.P50 || m.Max+m.Max/32 < m.P99 {
		t.Errorf("%s: p50 %v, p99 %v and max %v are out of order", l.name, m.P50, m.P99, m.Max)
	}
}

// The load sends whole bursts only. Here lines arrive in pieces, and replies are read only
// after all is sent, so that the server's writes are partial.
func TestServersEchoPieces(t *testing.T) {
	b := newBench(t)
	for _, s := range b.thatDo(echoing) {
		t.Run(s.name, func(t *testing.T) {
			conn := dialOver(t, s, b.startForTest(t, s, echoing))
			text := randomLines(4 << 20)
			sent := make(chan error, 1)
			go func() { sent <- writePieces(conn, text) }()
			time.Sleep(20 * time.Millisecond) // lets the buffers fill; the test is valid without it too
			got := make([]byte, len(text))
			if _, err := io.ReadFull(conn, got); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, text) {
				t.Error("the reply differs from what was sent")
			}
		})
	}
}

func TestServersAnswerBeforeAnIncompleteLine(t *testing.T) {
	b := newBench(t)
	for _, s := range b.thatDo(echoing) {
		t.Run(s.name, func(t *testing.T) {
			conn := dialOver(t, s, b.startForTest(t, s, echoing))
			got := make([]byte, 4)
			for _, step := range []struct{ send, want string }{{"a\nb\nc", "a\nb\n"}, {"c\n", "cc\n"}} {
				if _, err := conn.Write([]byte(step.send)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(conn, got[:len(step.want)]); err != nil || string(got[:len(step.want)]) != step.want {
					t.Fatalf("after %q: got %q, %v, want %q", step.send, got[:len(step.want)], err, step.want)
				}
			}
		})
	}
}

// thatDo returns the servers that do w, those over TLS last.
func (b *bench) thatDo(w work) []server {
	return append(b.thatServe(load{work: w}), b.thatServe(load{work: w, tls: true})...)
}

func (b *bench) thatServe(l load) (some []server) {
	for _, s := range b.servers {
		if s.serves(l) {
			some = append(some, s)
		}
	}
	return some
}

func TestServersEchoFramesInPieces(t *testing.T) {
	b := newBench(t)
	for _, s := range b.thatDo(framing) {
		t.Run(s.name, func(t *testing.T) {
			conn := dialOver(t, s, b.startForTest(t, s, framing))
			for _, size := range []int{0, 1, 4000, 70_000, maxFrame} {
				sent := frameBurst(size, 1, size)
				// A server that copies may answer, and fill the buffers, before all is sent.
				failed := make(chan error, 1)
				go func() { failed <- writePieces(conn, sent) }()
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
					t.Fatalf("frame of %d bytes: another came back, or %v", size, err)
				}
				if err := <-failed; err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func dialServer(t *testing.T, r *running) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp4", r.address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// dialOver is dialServer, over TLS if s speaks it.
func dialOver(t *testing.T, s server, r *running) halfCloser {
	t.Helper()
	conn := dialServer(t, r)
	if !s.tls {
		return conn.(*net.TCPConn)
	}
	secured := tls.Client(conn, clientTLS())
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := secured.ConnectionState().CipherSuite; s.program != nil && tls.CipherSuiteName(suite) != cipher {
		t.Errorf("%s chose %s, want %s", s.name, tls.CipherSuiteName(suite), cipher)
	}
	return secured
}

// randomLines returns lines that all servers accept: the bufio server takes up to 4 KiB.
func randomLines(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < size {
		fmt.Fprintf(&text, "%d %s\n", text.Len(), strings.Repeat("y", random.IntN(4000)))
	}
	return text.Bytes()
}

func writePieces(w io.Writer, text []byte) error {
	random := rand.New(rand.NewPCG(3, 4))
	for len(text) > 0 {
		n := min(1+random.IntN(100_000), len(text))
		if _, err := w.Write(text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// TestRun runs the benchmark as a user does.
func TestRun(t *testing.T) {
	b := newBench(t)
	b.loads, b.kvSource = b.loads[:2], ""
	var out bytes.Buffer
	b.out = &out
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.json)
	if err != nil {
		t.Fatal(err)
	}
	var r results
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	echo, relay := len(b.thatServe(load{work: echoing})), len(b.thatServe(load{work: relaying, conns: mostForks + 1}))
	if len(r.Pairs) != relay {
		t.Errorf("%d figures of pairs, want %d", len(r.Pairs), relay)
	}
	for _, p := range r.Pairs {
		if p.Files < 2 || p.After <= 0 {
			t.Errorf("pairs: want two files or more, and some memory: %+v", p)
		}
	}
	if len(r.Rooms) != 1 || r.Rooms[0].Conns != b.rooms*roomMembers || r.Rooms[0].Heap <= 0 {
		t.Errorf("rooms: want %d memberships and a heap: %+v", b.rooms*roomMembers, r.Rooms)
	}
	for _, over := range [][]memoryResult{r.TLSMemory, r.TLSMemoryFrame} {
		if want := len(b.thatServe(load{work: echoing, tls: true})); len(over) != want {
			t.Errorf("%d figures of memory over TLS, want %d", len(over), want)
		}
		for _, m := range over {
			if m.Heap <= 0 || m.Ratios[naiveTLS] <= 0 {
				t.Errorf("memory over TLS: want a heap and a ratio: %+v", m)
			}
		}
	}
	if len(r.Loads) != len(b.loads) || len(r.Memory) != echo {
		t.Fatalf("%d loads and %d memory figures, want %d and %d", len(r.Loads), len(r.Memory), len(b.loads), echo)
	}
	for _, l := range r.Loads {
		checkTable(t, b, l, out.String())
	}
}

func checkTable(t *testing.T, b *bench, l loadResult, printed string) {
	t.Helper()
	if want := len(b.thatServe(load{work: echoing})); len(l.Servers) != want || !strings.Contains(printed, l.Name+":") {
		t.Errorf("%s: %d lines, want %d, and a table", l.Name, len(l.Servers), want)
	}
	for _, s := range l.Servers {
		toBufio := s.Ratios[cpuFigure.name][naive]
		if len(s.Rounds) != b.rounds || s.PerSecond <= 0 || s.CPUMicros <= 0 || toBufio <= 0 {
			t.Errorf("%s: figures are missing: %+v", l.Name, s)
		}
		if s.Server == naive && toBufio != 1 {
			t.Errorf("%s: the ratio of %s to itself is %v", l.Name, naive, toBufio)
		}
	}
}

func TestRunStopsWhenInterrupted(t *testing.T) {
	b := newBench(t)
	b.duration, b.kvSource = time.Hour, ""
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := b.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestServersThatAreNotInstalledAreSkipped(t *testing.T) {
	t.Setenv("PATH", "")
	defer func(before string) { sbin = before }(sbin)
	sbin = t.TempDir()
	b := &bench{options: options{servers: servers}}
	skipped, err := b.prepareServers(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 9 || len(b.servers) != len(servers)-9 {
		t.Errorf("got %d servers, skipped %q", len(b.servers), skipped)
	}
	if slices.ContainsFunc(b.servers, func(s server) bool { return s.isC() || s.program != nil }) {
		t.Error("a server that is not in this program is not left out")
	}
}

func TestServersThatTheEarlierVersionDoesNotHaveAreSkipped(t *testing.T) {
	earlier := filepath.Join(t.TempDir(), "bench")
	if err := os.WriteFile(earlier, []byte("#!/bin/sh\n[ \"$*\" = '-servers wireline -h' ]\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	some := []server{{name: "wireline"}, {name: "wireline-tls"}}
	b := &bench{options: options{servers: withBefore(some, earlier)}}
	skipped, err := b.prepareServers(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 1 || skipped["before-wireline-tls"] == "" || len(b.servers) != 3 {
		t.Errorf("got %d servers, skipped %q", len(b.servers), skipped)
	}
	b = &bench{options: options{servers: withBefore(some, earlier+"-missing")}}
	if _, err := b.prepareServers(t.Context(), t.TempDir()); err == nil {
		t.Error("no error although there is no such program")
	}
}
