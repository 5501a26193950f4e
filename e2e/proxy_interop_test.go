//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/internal/testutil"

	"github.com/google/go-cmp/cmp"
)

// In these tests wireline is a proxy between other programs, or between a client and an
// upstream in the test.

// startProxy starts wireline as a proxy to upstream.
func startProxy(t *testing.T, upstream string, args ...string) *process {
	t.Helper()
	return start(t, append([]string{"--handler=proxy", "--proxy.upstreams=" + upstream}, args...)...)
}

// stopQuiet stops a proxy and checks that it has logged no warning.
func (p *process) stopQuiet() {
	p.t.Helper()
	p.stop()
	if warnings := p.find("level", "WARN"); len(warnings) > 0 {
		p.t.Errorf("%d warnings in the log, want none; the first: %v", len(warnings), warnings[0])
	}
}

func TestProxyRedisCLI(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	cli := need(t, redisCLI)
	p := startProxy(t, startRedis(t))
	host, port := splitAddr(p.addr)
	redis := func(stdin string, args ...string) string {
		t.Helper()
		return runGood(t, stdin, cli, append([]string{"-h", host, "-p", port}, args...)...)
	}
	if got := redis("", "PING"); got != "PONG\n" {
		t.Errorf("PING: %q", got)
	}
	value := string(randomBytes(1 << 20))
	if got := redis(value, "-x", "SET", "random"); got != "OK\n" {
		t.Errorf("SET: %q", got)
	}
	if got := redis("", "GET", "random"); got != value+"\n" {
		t.Errorf("GET: %s, want the value that was set", abridged(got))
	}

	const commands = 20_000
	var pipeline strings.Builder
	for i := range commands {
		key := strconv.Itoa(i)
		fmt.Fprintf(&pipeline, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(key), key, len(key), key)
	}
	if got, want := redis(pipeline.String(), "--pipe"), fmt.Sprintf("errors: 0, replies: %d\n", commands); !strings.HasSuffix(got, want) {
		t.Errorf("--pipe: %q, want %q at the end", got, want)
	}
	if got, want := redis("", "DBSIZE"), fmt.Sprintf("%d\n", commands+1); got != want {
		t.Errorf("DBSIZE: %q, want %q", got, want)
	}

	// Messages that the upstream sends without a request.
	subscriber := launchTool(t, cli, "-h", host, "-p", port, "SUBSCRIBE", "news")
	subscriber.awaitOutput("subscribe\nnews\n1\n")
	if got := redis("", "PUBLISH", "news", "hello"); got != "1\n" {
		t.Errorf("PUBLISH: %q, want one subscriber", got)
	}
	subscriber.awaitOutput("message\nnews\nhello\n")
	p.stopQuiet()
}

func TestProxyRedisBenchmark(t *testing.T) {
	t.Parallel()
	for _, pipeline := range []string{"1", "16"} {
		t.Run("-P "+pipeline, func(t *testing.T) {
			t.Parallel()
			benchmark := need(t, redisBenchmark)
			p := startProxy(t, startRedis(t), "--log.connections=false")
			host, port := splitAddr(p.addr)
			out := runGood(t, "", benchmark, "-h", host, "-p", port, "-n", "5000", "-c", "20", "-P", pipeline,
				"-d", "100", "-t", "ping,set,get,lpush,lrange_100", "--csv")
			// CSV with a header: "test","requests per second",...
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if len(lines) < 7 {
				t.Errorf("printed %s, want a line for each of its tests", abridged(out))
			}
			for _, line := range lines[1:] {
				fields := strings.Split(line, ",")
				if rate, err := strconv.ParseFloat(unquote(fields[1]), 64); err != nil || rate <= 0 {
					t.Errorf("%s: no requests per second", line)
				}
			}
			p.stopQuiet()
		})
	}
}

// startRedis starts Redis on a free port, without persistence.
func startRedis(t *testing.T) (addr string) {
	t.Helper()
	server := need(t, redisServer)
	port := freePort(t)
	launch(t, server, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--dir", t.TempDir()).awaitOutput("Ready to accept connections")
	return "127.0.0.1:" + port
}

// The report of a client that tests the whole protocol is the same with and without the proxy.
func TestProxyMemccapable(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	path := need(t, memccapable)
	report := func(addr string) string {
		host, port := splitAddr(addr)
		out, err := runTool(strings.NewReader(""), path, "-h", host, "-p", port)
		return fmt.Sprintf("%s%v", out, err)
	}
	// It empties its server, so each run has one of its own.
	direct, behind := startMemcached(t), startMemcached(t)
	p := startProxy(t, behind)
	var want, got string
	var both sync.WaitGroup
	both.Go(func() { want = report(direct) })
	both.Go(func() { got = report(p.addr) })
	both.Wait()
	if n := strings.Count(want, "[pass]"); n < 20 {
		t.Errorf("only %d of its tests pass without a proxy", n)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-direct +proxy):\n%s", diff)
	}
	p.stopQuiet()
}

func startMemcached(t *testing.T) (addr string) {
	t.Helper()
	server := need(t, memcached)
	port := freePort(t)
	args := []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-vv"}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "root") // it runs as root only with -u
	}
	p := launch(t, server, args...)
	p.awaitIn(&p.stderr, "server listening", 1)
	return "127.0.0.1:" + port
}

func TestProxyIperf3(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for _, args := range [][]string{{"-t", "1"}, {"-t", "1", "-R"}, {"-t", "1", "-P", "4"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			path := need(t, iperf3)
			port := freePort(t)
			launch(t, path, "-s", "-B", "127.0.0.1", "-p", port, "--forceflush").awaitOutput("Server listening")
			p := startProxy(t, "127.0.0.1:"+port)
			host, port := splitAddr(p.addr)
			out := runGood(t, "", path, append([]string{"-J", "-c", host, "-p", port}, args...)...)
			var report struct {
				Error string
				End   struct {
					Sent     struct{ Bytes int64 } `json:"sum_sent"`
					Received struct{ Bytes int64 } `json:"sum_received"`
				}
			}
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if sent, received := report.End.Sent.Bytes, report.End.Received.Bytes; report.Error != "" || sent <= 0 || received <= 0 {
				t.Errorf("error %q, %d bytes sent, %d received", report.Error, sent, received)
			}
			p.stopQuiet()
		})
	}
}

// The client's FIN reaches the upstream, which answers after a pause, and the whole answer
// reaches the client.
func TestProxyHalfClose(t *testing.T) {
	t.Parallel()
	const pause = 5 * time.Second
	upstream := serveUpstream(t, func(conn *net.TCPConn) {
		b, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("the upstream read %d bytes, %v; want the end of the stream", len(b), err)
		}
		time.Sleep(pause) // the client waits with a half-closed connection, which is what is tested
		conn.Write(b)
	})
	p := startProxy(t, upstream)
	t.Cleanup(p.stopQuiet)
	host, port := splitAddr(p.addr)
	for _, test := range halfClose {
		if !strings.Contains(test.args, "%h") {
			continue
		}
		t.Run(test.tool.name+" "+test.args, func(t *testing.T) {
			t.Parallel()
			path := need(t, test.tool)
			args := strings.Fields(strings.NewReplacer("%h", host, "%p", port).Replace(test.args))
			var all sync.WaitGroup
			for _, input := range []string{"a\nb", "", string(randomBytes(3 << 20))} {
				all.Go(func() {
					begin := time.Now()
					got, err := runTool(strings.NewReader(input), path, args...)
					if got != input || err != nil {
						t.Errorf("printed %s, %v; want %s", abridged(got), err, abridged(input))
					}
					if took := time.Since(begin); took < pause {
						t.Errorf("ended after %v, before the answer", took)
					}
				})
			}
			all.Wait()
		})
	}
}

// runGood is runTool for a tool that must succeed.
func runGood(t *testing.T, stdin, path string, args ...string) (stdout string) {
	t.Helper()
	out, err := runTool(strings.NewReader(stdin), path, args...)
	if err != nil {
		var said []byte
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			said = bytes.TrimSpace(exit.Stderr)
		}
		t.Fatalf("%s %s: %v\n%s\n%s", path, strings.Join(args, " "), err, said, abridged(out))
	}
	return out
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}
