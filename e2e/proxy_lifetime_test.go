//go:build unix

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// A stream in each direction at the same time, over one connection, arrives unchanged.
func TestProxyBulk(t *testing.T) {
	n := int64(1 << 30)
	if testutil.Reduced() {
		n = 64 << 20
	}
	var up, down struct{ sent, received streamSum }
	done := make(chan struct{})
	upstream := serveUpstream(t, func(conn *net.TCPConn) {
		defer close(done)
		up.received, down.sent = exchange(conn, n)
	})
	p := startProxy(t, upstream)
	conn := p.dial().(*net.TCPConn)
	conn.SetDeadline(time.Now().Add(5 * patience))
	begin := time.Now()
	down.received, up.sent = exchange(conn, n)
	<-done
	if up.sent != up.received || up.sent.n != n {
		t.Errorf("client to upstream: sent %v, received %v", up.sent, up.received)
	}
	if down.sent != down.received || down.sent.n != n {
		t.Errorf("upstream to client: sent %v, received %v", down.sent, down.received)
	}
	t.Logf("%d MiB each way in %v", n>>20, time.Since(begin))
	p.stopQuiet()
	if record := p.await("msg", "connection"); record["bytes_in"] != fmt.Sprint(n) || record["bytes_out"] != fmt.Sprint(n) || record["reason"] != "fin" {
		t.Errorf("record %v, want %d bytes each way", record, n)
	}
}

// exchange sends n bytes and reads to the end, both at the same time.
func exchange(conn *net.TCPConn, n int64) (received, sent streamSum) {
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		sent = sendStream(conn, n)
		conn.CloseWrite()
	})
	received = receiveStream(conn)
	sender.Wait()
	return received, sent
}

// streamSum is the length and the checksum of a stream.
type streamSum struct {
	n   int64
	sum uint64
	err string
}

// streamSeed is the seed of all checksums.
var streamSeed = maphash.MakeSeed()

// sendStream sends n bytes, no two pages of which are equal.
func sendStream(w io.Writer, n int64) (s streamSum) {
	const page = 4096
	block := randomBytes(64 * page)
	var hash maphash.Hash
	hash.SetSeed(streamSeed)
	for number := uint64(rand.Uint32()) << 32; s.n < n; {
		for at := 0; at < len(block); at += page {
			binary.LittleEndian.PutUint64(block[at:], number)
			number++
		}
		b := block[:min(int64(len(block)), n-s.n)]
		hash.Write(b)
		sent, err := w.Write(b)
		s.n += int64(sent)
		if err != nil {
			s.err = err.Error()
			break
		}
	}
	s.sum = hash.Sum64()
	return s
}

// receiveStream reads to the end.
func receiveStream(r io.Reader) (s streamSum) {
	var hash maphash.Hash
	hash.SetSeed(streamSeed)
	n, err := io.CopyBuffer(&hash, struct{ io.Reader }{r}, make([]byte, 256<<10))
	s = streamSum{n: n, sum: hash.Sum64()}
	if err != nil {
		s.err = err.Error()
	}
	return s
}

// When an upstream restarts, the idle connections to it in the pool are dead. No client gets
// one of them.
func TestProxyUpstreamRestarts(t *testing.T) {
	t.Parallel()
	const pooled, clients = 50, 100
	for _, end := range []string{"FIN", "RST"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			addr := "127.0.0.1:" + freePort(t)
			first := newOrigin(t, addr, echoAll)
			p := startProxy(t, addr, fmt.Sprintf("--proxy.pool.size=%d", pooled))
			first.awaitConns(pooled)
			first.stop(end == "RST")
			awaitEnds(t, addr)
			newOrigin(t, addr, echoAll)

			var all sync.WaitGroup
			for i := range clients {
				all.Go(func() {
					line := fmt.Sprintf("client %d\n", i)
					if err := echoOnce(p.addr, line); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
				})
			}
			all.Wait()
			p.stop()
			if records := p.find("reason", "fin"); len(records) != clients {
				t.Errorf("%d records of a FIN, want %d", len(records), clients)
			}
		})
	}
}

// awaitEnds waits until no connection to addr is established. On a busy machine even the
// loopback takes time.
func awaitEnds(t *testing.T, addr string) {
	t.Helper()
	_, port := splitAddr(addr)
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	established := regexp.MustCompile(fmt.Sprintf(`(?m)^ *\d+: \S+ [0-9A-F]{8}:%04X 01 `, n))
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil || !established.Match(table) {
			return // also where the system is not Linux
		}
		if time.Now().After(end) {
			t.Fatal("connections to the upstream are still established")
		}
	}
}

// echoOnce sends a line and a FIN, and reads to the end.
func echoOnce(addr, line string) error {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, line); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != line {
		return fmt.Errorf("received %q, %v; want %q", got, err, line)
	}
	return nil
}

// A proxy that stops closes the idle pairs, and lets the busy ones finish.
func TestProxyDrains(t *testing.T) {
	testutil.Long(t)
	ends := make(chan error, 2) // how each connection ends, as the upstream sees it
	p := startProxy(t, serveUpstream(t, func(conn *net.TCPConn) {
		_, err := io.Copy(conn, struct{ io.Reader }{conn})
		ends <- err
	}), "--proxy.drain_quiet=1s")
	idle, busy := p.dial(), p.dial()
	echoes(t, idle, "hello\n")
	bounce(t, busy, 1500*time.Millisecond) // longer than the time after which a pair is idle
	p.signal(syscall.SIGTERM)
	closed := make(chan error, 1)
	go func() {
		b, err := io.ReadAll(idle)
		if err == nil && len(b) > 0 {
			err = fmt.Errorf("received %q", b)
		}
		closed <- err
	}()
	for open := true; open; {
		select {
		case err := <-closed:
			if err != nil {
				t.Errorf("the idle client received %v, want a FIN", err)
			}
			open = false
		default:
			echoes(t, busy, "still here\n") // until its deadline
		}
	}
	if err := <-ends; err != nil {
		t.Errorf("the idle upstream received %v, want a FIN", err)
	}
	bounce(t, busy, 2*time.Second)
	if p.ended() {
		t.Error("the proxy has ended although one pair is busy")
	}
	closeWrite(t, busy)
	receiveRest(t, busy, "")
	if err := <-ends; err != nil {
		t.Errorf("the busy upstream received %v, want a FIN", err)
	}
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	wantDrained(t, p, entry{"level": "INFO", "idle": "1", "finished": "1", "cut": "0"})
	for key, value := range map[string]string{"drain": "server", "fin": "client"} {
		if records := p.find("reason", key); len(records) != 1 || records[0]["by"] != value {
			t.Errorf("records %v, want one by %s with the reason %s", records, value, key)
		}
	}
}

// bounce keeps bytes moving on a connection that echoes.
func bounce(t *testing.T, conn net.Conn, interval time.Duration) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < interval; {
		echoes(t, conn, "hello\n")
	}
}

// A pair that does not end is reset on both sides when the drain timeout expires.
func TestProxyDrainTimeout(t *testing.T) {
	ends := make(chan error, 1)
	p := startProxy(t, serveUpstream(t, func(conn *net.TCPConn) {
		_, err := io.Copy(conn, struct{ io.Reader }{conn})
		ends <- err
	}), "--tcp.drain_timeout=500ms", "--proxy.drain_quiet=1s")
	conn := p.dial()
	echoes(t, conn, "hello\n")
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	var err error
	for got := make([]byte, 6); err == nil; {
		if _, err = io.WriteString(conn, "hello\n"); err == nil {
			_, err = io.ReadFull(conn, got)
		}
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the client received %v, want a reset", err)
	}
	if took := time.Since(begin); took < 500*time.Millisecond {
		t.Errorf("reset after %v, before the drain timeout", took)
	}
	if err := <-ends; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the upstream received %v, want a reset", err)
	}
	if code := p.wait(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	wantDrained(t, p, entry{"level": "WARN", "idle": "0", "finished": "0", "cut": "1",
		"err": "clients were cut: 1 of 1: drain timeout"})
}

// A proxy without upstreams is a configuration error, with and without --check.
func TestProxyWithoutUpstreams(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--check"}, {"--proxy.upstreams="}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			p := launch(t, "wireline", append([]string{"--handler=proxy", "--tcp.address=127.0.0.1:0"}, args...)...)
			if code := p.wait(); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			said := p.stderr.String()
			if strings.Count(said, "\n") != 1 || !strings.Contains(said, "proxy.upstreams") || p.stdout.String() != "" {
				t.Errorf("printed %q and %q, want one line that names proxy.upstreams", p.stdout.String(), said)
			}
		})
	}
}
