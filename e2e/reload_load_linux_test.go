package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// talkers are clients that talk to a server in rounds, on connections that stay open.
type talkers struct {
	lines []net.Conn // ping-pong of short lines
	bulk  []net.Conn // much data there and back, through the proxy

	mu     sync.Mutex
	faults []error
	trips  int
}

func (c *talkers) fault(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, err)
}

// round makes all clients talk until stop is closed, each of them once at least.
func (c *talkers) round(stop <-chan struct{}) {
	var all sync.WaitGroup
	for i, conn := range c.lines {
		all.Go(func() { c.talk(conn, fmt.Sprintf("client %d line %%d\n", i), stop) })
	}
	chunk := strings.Repeat("0123456789abcde\n", 4<<10)
	for i, conn := range c.bulk {
		all.Go(func() { c.talk(conn, fmt.Sprintf("pair %d block %%d ", i)+chunk, stop) })
	}
	all.Wait()
}

// talk sends a message and receives it, again and again.
func (c *talkers) talk(conn net.Conn, format string, stop <-chan struct{}) {
	for n := 0; ; n++ {
		if err := roundTrip(conn, fmt.Sprintf(format, n)); err != nil {
			c.fault(fmt.Errorf(strings.TrimSpace(format[:20])+", trip %d: %w", n, err))
			return
		}
		select {
		case <-stop:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.trips += n + 1
			return
		default:
		}
	}
}

// roundTrip sends a message while it receives it.
func roundTrip(conn net.Conn, message string) error {
	conn.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	write := func() {
		_, err := io.WriteString(conn, message)
		sent <- err
	}
	if len(message) > 1000 { // both directions may be full
		go write()
	} else {
		write()
	}
	got := make([]byte, len(message))
	_, err := io.ReadFull(conn, got)
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if !bytes.Equal(got, []byte(message)) {
		return fmt.Errorf("received %s", abridged(string(got)))
	}
	return nil
}

// count returns how many lines of a service have this message.
func (r *reloadable) count(msg, service string) (n int) {
	for _, e := range r.find("msg", msg) {
		if e["service"] == service {
			n++
		}
	}
	return n
}

// quiet returns how many goroutines and descriptors the process has.
func (r *reloadable) quiet() (goroutines int, files descriptorCount) {
	r.t.Helper()
	_, body := r.get("/debug/pprof/goroutine?debug=1")
	if _, err := fmt.Sscanf(body, "goroutine profile: total %d", &goroutines); err != nil {
		r.t.Fatalf("%v in %.100s", err, body)
	}
	return goroutines, r.descriptors()
}

// Reloads under load: each changes something, and no client notices. What is left at the end is
// what was there at the beginning.
func TestReloadUnderLoad(t *testing.T) {
	testutil.Long(t)
	lines, pairs, reloads := 1000, 100, 100
	if testutil.Reduced() {
		lines, pairs, reloads = 100, 10, 15
	}
	needDescriptors(t, uint64(2*lines+6*pairs+200))
	var upstreams []string
	for range 2 {
		upstreams = append(upstreams, serveUpstream(t, func(conn *net.TCPConn) { io.Copy(conn, conn) }))
	}
	port := freePorts(t, 3)
	// config is the nth configuration, which differs from the one before.
	config := func(n int) string {
		address := fmt.Sprintf("127.0.0.1:%d", port+n/3%2)
		behind := [][]string{upstreams, upstreams[:1], upstreams[1:]}[n%3]
		text := fmt.Sprintf(`
tcp: {max_clients: %d, drain_timeout: 5m}
log: {level: info, format: %s}
services:
  lines:
    tcp: {address: "%s", allow: [127.0.0.0/8, 10.0.0.%d]}
    echo: {max_line: %d, idle_timeout: %dm}
  front:
    handler: proxy
    tcp: {address: "127.0.0.1:0"}
    proxy: {upstreams: ["%s"], balance: %s, pool: {size: %d}, health: {interval: %ds}}
`, 5000+n, [...]string{"text", "json"}[n/2%2], address, n%200, 1000+n, 60+n%7, strings.Join(behind, `", "`),
			[...]string{"round_robin", "least_conn"}[n/4%2], n/2%2*3, n/5%2*10)
		if n%4 == 1 {
			text += fmt.Sprintf("  extra: {tcp: {address: \"127.0.0.1:%d\"}}\n", port+2)
		}
		return text
	}
	r := startReloadable(t, 2, config(0))
	where := map[string]string{}
	for _, e := range r.find("msg", "listening") {
		where[e["service"]] = e["addr"]
	}
	c := &talkers{}
	for range lines {
		c.lines = append(c.lines, testutil.Dial(t, "tcp", where["lines"]))
	}
	for range pairs {
		c.bulk = append(c.bulk, testutil.Dial(t, "tcp", where["front"]))
	}
	moved := func() bool { // the old listener is closed, and its address is free
		return r.count("listening", "lines")-r.count("listener closed", "lines") == 1
	}
	reload := func(n int) {
		t.Helper()
		testutil.Eventually(t, "the old listener to be closed", moved)
		r.write(t, config(n))
		if status, result, problem := r.post(); status != http.StatusOK || result.IsEmpty() {
			t.Errorf("reload %d: %d %s, %v", n, status, problem, result)
		}
	}
	// Something of everything has been there before the first count.
	stopped := make(chan struct{})
	close(stopped)
	c.round(stopped)
	for n := range 12 {
		reload(n + 1)
	}
	reload(0)
	c.round(stopped)
	goroutines, files := r.quiet()

	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		c.round(stop)
	}()
	var extra net.Conn // a client of the service that comes and goes
	for n := 1; n <= reloads; n++ {
		reload(n)
		if extra != nil {
			receiveRest(t, extra, "")
			extra.Close()
			extra = nil
		}
		if n%4 == 1 {
			extra = testutil.Dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", port+2))
			echoes(t, extra, "hello\n")
		}
	}
	close(stop)
	testutil.Await(t, "the clients", done)
	for i, err := range c.faults {
		if i < 10 {
			t.Error(err)
		}
	}
	reload(0)
	c.round(stopped)
	t.Logf("%d trips during the reloads", c.trips)
	if len(c.faults) > 0 {
		t.Fatalf("%d clients of %d have seen an error", len(c.faults), lines+pairs)
	}
	var g int
	var f descriptorCount
	same := testutil.Soon(patience, func() bool {
		g, f = r.quiet()
		return g <= goroutines && f.sockets <= files.sockets && f.pipes <= max(files.pipes, 2*idleProxyPipes) && f.others <= files.others
	})
	if !same {
		_, body := r.get("/debug/pprof/goroutine?debug=1")
		t.Error(body)
	}
	t.Logf("before: %d goroutines, %+v; after: %d, %+v", goroutines, files, g, f)
	for _, conn := range append(c.lines, c.bulk...) {
		conn.Close()
	}
	testutil.Eventually(t, "the end of all connections", func() bool {
		return r.count("connection", "lines") == lines && r.count("connection", "front") == pairs
	})
	r.stop()
	for _, e := range r.log() {
		if e["level"] == "ERROR" || e["level"] == "WARN" || e["msg"] == "connection" && e["by"] == "server" && e["service"] != "extra" {
			t.Errorf("%v", e)
		}
	}
}
