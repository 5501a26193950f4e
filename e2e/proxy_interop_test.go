//go:build unix

package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"

	"github.com/google/go-cmp/cmp"
)

// Here wireline is a proxy between the programs of others, or between a client and
// an upstream of the test's own.

// startProxy starts wireline as a proxy to upstream.
func startProxy(t *testing.T, upstream string, args ...string) *process {
	t.Helper()
	return start(t, append([]string{"--handler=proxy", "--proxy.upstreams=" + upstream}, args...)...)
}

// stopQuiet stops a proxy, which has nothing to warn of.
func (p *process) stopQuiet() {
	p.t.Helper()
	p.stop()
	if warnings := p.find("level", "WARN"); len(warnings) > 0 {
		p.t.Errorf("%d warnings in the log, want none; the first: %v", len(warnings), warnings[0])
	}
}

func TestProxyRedisCLI(t *testing.T) {
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

	// What the upstream says unasked.
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
			// "test","requests per second" and more, with a headline
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

// startRedis starts Redis on a free port, with nothing on disk.
func startRedis(t *testing.T) (addr string) {
	t.Helper()
	server := need(t, redisServer)
	port := freePort(t)
	launch(t, server, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--dir", t.TempDir()).awaitOutput("Ready to accept connections")
	return "127.0.0.1:" + port
}

// The reports of a client that tries everything: through the proxy nothing is
// different.
func TestProxyMemccapable(t *testing.T) {
	t.Parallel()
	path := need(t, memccapable)
	report := func(addr string) string {
		host, port := splitAddr(addr)
		out, err := runTool(strings.NewReader(""), path, "-h", host, "-p", port)
		return fmt.Sprintf("%s%v", out, err)
	}
	// It empties its server, so each has one.
	direct, behind := startMemcached(t), startMemcached(t)
	p := startProxy(t, behind)
	var want, got string
	var both sync.WaitGroup
	both.Go(func() { want = report(direct) })
	both.Go(func() { got = report(p.addr) })
	both.Wait()
	if n := strings.Count(want, "[pass]"); n < 20 {
		t.Errorf("%d of its tests pass without a proxy", n)
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
		args = append(args, "-u", "root") // it does not run as root unasked
	}
	p := launch(t, server, args...)
	p.awaitIn(&p.stderr, "server listening", 1)
	return "127.0.0.1:" + port
}

func TestProxyCurl(t *testing.T) {
	t.Parallel()
	path := need(t, curl)
	small, large := "hello\n", string(randomBytes(32<<20))
	p := startProxy(t, startWeb(t, map[string]string{"small": small, "large": large}))
	get := func(args ...string) string {
		t.Helper()
		return runGood(t, "", path, append([]string{"-sS", "--fail", "--noproxy", "*"}, args...)...)
	}
	url := "http://" + p.addr + "/"
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"small", []string{url + "small"}, small},
		{"large", []string{url + "large"}, large},
		{"limited", []string{"--limit-rate", "50M", url + "large"}, large},
		{"HTTP/1.0", []string{"--http1.0", "-H", "Connection: close", url + "large"}, large},
		{"two on one connection", []string{url + "small", url + "large", "-w", "%{num_connects}"}, small + "1" + large + "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := get(test.args...); got != test.want {
				t.Errorf("%d bytes %s, want %d bytes %s", len(got), abridged(got), len(test.want), abridged(test.want))
			}
		})
	}
	// curl leaves when it has as many bytes as it was promised. For a client that does
	// not count them, the end is that of the connection.
	conn := p.dial()
	send(t, conn, "GET /large HTTP/1.0\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if err != nil || body != large || !strings.Contains(head, "\r\nConnection: close") {
		t.Errorf("answered %q and %d bytes, %v; want %d bytes and the end", head, len(body), err, len(large))
	}
	conn.Close()
	p.stopQuiet()
	if record := p.await("peer", conn.LocalAddr().String()); record["by"] != "upstream" || record["reason"] != "fin" {
		t.Errorf("record %v, want the upstream's FIN", record)
	}
}

func TestProxyWrk(t *testing.T) {
	t.Parallel()
	path := need(t, wrk)
	for _, size := range []int{100, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := startProxy(t, startWeb(t, map[string]string{"file": strings.Repeat("x", size)}), "--log.connections=false")
			out := runGood(t, "", path, "-t", "1", "-c", "20", "-d", "1s", "http://"+p.addr+"/file")
			if !regexp.MustCompile(`(?m)^ *[1-9]\d* requests in `).MatchString(out) || strings.Contains(out, "errors") || strings.Contains(out, "Non-2xx") {
				t.Errorf("printed\n%s", out)
			}
			p.stopQuiet()
		})
	}
}

// startWeb starts nginx with these files.
func startWeb(t *testing.T, files map[string]string) (addr string) {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	startNginx(t, "", fmt.Sprintf(`http {
		access_log off;
		sendfile on;
		client_body_temp_path body;
		proxy_temp_path proxy;
		fastcgi_temp_path fastcgi;
		uwsgi_temp_path uwsgi;
		scgi_temp_path scgi;
		server { listen 127.0.0.1:%s; root %q; }
	}`, port, root))
	return "127.0.0.1:" + port
}

// startNginx starts nginx as one process, in a folder of its own.
func startNginx(t *testing.T, modules, conf string) *process {
	t.Helper()
	server := need(t, nginx)
	folder := t.TempDir()
	conf = modules + `
		daemon off;
		master_process off;
		pid pid;
		error_log stderr notice;
		events { worker_connections 1024; }
	` + conf
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, server, "-e", "stderr", "-p", folder, "-c", file)
	p.awaitIn(&p.stderr, "event method", 1) // by then it listens
	return p
}

// startNginxProxy starts nginx as a proxy to upstream, with these directives.
func startNginxProxy(t *testing.T, upstream string, directives ...string) (p *process, addr string) {
	t.Helper()
	const module = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(module); err != nil {
		tool{name: module, pkg: "libnginx-mod-stream"}.missing(t)
	}
	addr = "127.0.0.1:" + freePort(t)
	server := fmt.Sprintf("listen %s; proxy_pass %s; %s", addr, upstream, strings.Join(directives, " "))
	return startNginx(t, "load_module "+module+";", "stream { server { "+server+" } }"), addr
}

func TestProxyIperf3(t *testing.T) {
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

// The end of the client's stream arrives at the upstream, which answers after a
// while, and all of the answer arrives at the client.
func TestProxyToolHalfCloses(t *testing.T) {
	t.Parallel()
	const pause = 5 * time.Second
	upstream := serveUpstream(t, func(conn *net.TCPConn) {
		b, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("the upstream read %d bytes, %v; want the end of the stream", len(b), err)
		}
		time.Sleep(pause) // this is what is tested: a client that has only half a connection
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

// HAProxy as an upstream tells who the client is, as it was told by the proxy.
func TestProxySendsHeader(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			path := need(t, curl)
			p := startProxy(t, startHAProxy(t), "--proxy.send_proxy="+version)
			out := runGood(t, "", path, "-sS", "--fail", "--noproxy", "*", "http://"+p.addr+"/", "-w", `%{local_ip}:%{local_port}`)
			if told, is, _ := strings.Cut(out, "\n"); told != is || is == "" {
				t.Errorf("the upstream was told of %q, the client is %q", told, is)
			}
			p.stopQuiet()
		})
	}
}

// startHAProxy starts HAProxy, which wants the header of the PROXY protocol, and
// answers with the client's address in it.
func startHAProxy(t *testing.T) (addr string) {
	t.Helper()
	_, addr = runHAProxy(t, `
defaults
	mode http
	timeout client 20s
	timeout connect 20s
	timeout server 20s
frontend test
	bind fd@0 accept-proxy
	http-request return status 200 content-type text/plain lf-string "%ci:%cp\n"
`)
	return addr
}

// runHAProxy starts HAProxy with a configuration that binds fd@0: it does not say
// when it listens, so it gets a socket that does, for its standard input.
func runHAProxy(t *testing.T, conf string) (p *process, addr string) {
	t.Helper()
	server := need(t, haproxy)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return launchWith(t, socket, server, "-db", "-f", file), ln.Addr().String()
}

// A stream each way at the same time, through one connection: what arrives is what
// was sent.
func TestProxyBulk(t *testing.T) {
	n := int64(1 << 30)
	if testutil.RaceEnabled || testing.Short() {
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

// streamSum is how long a stream is, and its checksum.
type streamSum struct {
	n   int64
	sum uint64
	err string
}

// streamSeed is that of all checksums.
var streamSeed = maphash.MakeSeed()

// sendStream sends n bytes, of which no two pages are equal.
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

// An upstream restarts, and the connections to it that were waiting for clients are
// dead: no client gets to see one.
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

// awaitEnds waits until no connection to addr is established any more: on a busy machine
// even the loopback takes its time.
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
			return // or not Linux
		}
		if time.Now().After(end) {
			t.Fatal("connections to the upstream stay")
		}
	}
}

// echoOnce sends a line and its end, and reads to the end.
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

// A proxy that stops closes the pairs on which nothing moves, and lets the others
// come to their end.
func TestProxyDrains(t *testing.T) {
	ends := make(chan error, 2) // what the upstream sees of each
	p := startProxy(t, serveUpstream(t, func(conn *net.TCPConn) {
		_, err := io.Copy(conn, struct{ io.Reader }{conn})
		ends <- err
	}), "--proxy.drain_quiet=1s")
	idle, busy := p.dial(), p.dial()
	echoes(t, idle, "hello\n")
	bounce(t, busy, 1500*time.Millisecond) // longer than what is idle has to be quiet
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
				t.Errorf("the idle client: %v, want a FIN", err)
			}
			open = false
		default:
			echoes(t, busy, "still here\n") // to its deadline
		}
	}
	if err := <-ends; err != nil {
		t.Errorf("the idle upstream: %v, want a FIN", err)
	}
	bounce(t, busy, 2*time.Second)
	if p.ended() {
		t.Error("the proxy has ended, and one pair goes on")
	}
	closeWrite(t, busy)
	receiveRest(t, busy, "")
	if err := <-ends; err != nil {
		t.Errorf("the busy upstream: %v, want a FIN", err)
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

// bounce keeps bytes moving on a connection that comes back.
func bounce(t *testing.T, conn net.Conn, interval time.Duration) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < interval; {
		echoes(t, conn, "hello\n")
	}
}

// A pair that never comes to its end is reset when the time is up, on both sides.
func TestProxyDrainTimeoutCuts(t *testing.T) {
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
		t.Errorf("the client: %v, want a reset", err)
	}
	if took := time.Since(begin); took < 500*time.Millisecond {
		t.Errorf("cut after %v, before the time was up", took)
	}
	if err := <-ends; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the upstream: %v, want a reset", err)
	}
	if code := p.wait(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	wantDrained(t, p, entry{"level": "WARN", "idle": "0", "finished": "0", "cut": "1",
		"err": "clients were cut: 1 of 1: drain timeout"})
}

// A proxy without upstreams is an error of the configuration, with and without
// --check.
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

// origin is an upstream in the test's own process.
type origin struct {
	t    *testing.T
	ln   net.Listener
	work sync.WaitGroup

	mu    sync.Mutex
	conns []*net.TCPConn
	more  chan struct{} // there is one more
}

// serveUpstream serves each connection with f on a free port, until the end of the
// test.
func serveUpstream(t *testing.T, f func(*net.TCPConn)) (addr string) {
	t.Helper()
	return newOrigin(t, "127.0.0.1:0", f).ln.Addr().String()
}

func newOrigin(t *testing.T, addr string, f func(*net.TCPConn)) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, ln: ln, more: make(chan struct{}, 1)}
	o.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			tcp := conn.(*net.TCPConn)
			o.mu.Lock()
			o.conns = append(o.conns, tcp)
			o.mu.Unlock()
			select {
			case o.more <- struct{}{}:
			default:
			}
			o.work.Go(func() {
				defer tcp.Close()
				f(tcp)
			})
		}
	})
	t.Cleanup(func() { o.stop(false) })
	return o
}

// awaitConns waits until there have been so many connections.
func (o *origin) awaitConns(n int) {
	o.t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		is := len(o.conns)
		o.mu.Unlock()
		if is >= n {
			return
		}
		select {
		case <-o.more:
		case <-late:
			o.t.Fatalf("%d connections to the upstream, want %d", is, n)
		}
	}
}

// stop closes the listener and every connection, with a FIN or with a RST.
func (o *origin) stop(reset bool) {
	o.ln.Close()
	o.mu.Lock()
	for _, conn := range o.conns {
		if reset {
			conn.SetLinger(0)
		}
		conn.Close()
	}
	o.mu.Unlock()
	o.work.Wait()
}

// echoAll is an upstream that sends everything back.
func echoAll(conn *net.TCPConn) { io.Copy(conn, struct{ io.Reader }{conn}) }

// freePort returns a port for a program that cannot say which one it was given. On
// Linux nobody else gets it before the end of the test: it stays bound, and as long
// as nobody listens on it, another socket with SO_REUSEADDR, as servers have it, may
// be bound to it by its number, but is not when it takes any (inet_csk_bind_conflict
// in net/ipv4/inet_connection_sock.c).
func freePort(t *testing.T) string {
	t.Helper()
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		t.Cleanup(func() { syscall.Close(fd) })
	} else {
		defer syscall.Close(fd)
	}
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, nameErr := syscall.Getsockname(fd)
	if err = errors.Join(err, nameErr); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
}

// runGood is runTool for a tool that has to succeed.
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
