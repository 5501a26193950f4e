//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
	"wireline/tcptest"
)

// endingServices are the services of TestEndsAddUp. The arguments are the port of lines, the
// addresses of three upstreams, and a port where nobody listens.
const endingServices = `
tcp: {drain_timeout: 5m}
log: {level: debug}
services:
  lines: {tcp: {address: "127.0.0.1:%[1]d"}, echo: {max_line: 100}}
  idle: {tcp: {address: "127.0.0.1:0"}, echo: {idle_timeout: 100ms}}
  silent: {tcp: {address: "127.0.0.1:0"}, echo: {read_timeout: 100ms}}
  first: {tcp: {address: "127.0.0.1:0"}, echo: {first_frame_timeout: 100ms}}
  half: {tcp: {address: "127.0.0.1:0"}, echo: {frame_timeout: 100ms}}
  old: {tcp: {address: "127.0.0.1:0"}, echo: {max_lifetime: 300ms}}
  stuck: {tcp: {address: "127.0.0.1:0"}, echo: {max_line: 8MiB, write_timeout: 200ms}}
  kicked: {tcp: {address: "127.0.0.1:0"}}
  busy: {tcp: {address: "127.0.0.1:0"}, echo: {max_line: 8MiB, write_timeout: 10m}}
  front: {handler: proxy, tcp: {address: "127.0.0.1:0"}, proxy: {upstreams: ["127.0.0.1:%[1]d"]}}
  kickedpair: {handler: proxy, tcp: {address: "127.0.0.1:0"}, proxy: {upstreams: ["127.0.0.1:%[1]d"]}}
  deaf: {handler: proxy, tcp: {address: "127.0.0.1:0"}, proxy: {upstreams: [%[2]q], half_close_timeout: 100ms}}
  rude: {handler: proxy, tcp: {address: "127.0.0.1:0"}, proxy: {upstreams: [%[3]q]}}
  polite: {handler: proxy, tcp: {address: "127.0.0.1:0"}, proxy: {upstreams: [%[4]q]}}
  nowhere: {handler: proxy, tcp: {address: "127.0.0.1:0"}, proxy: {upstreams: ["127.0.0.1:%[5]d"]}}
`

// traffic is what the clients of a service have counted: bytes and lines, as the service sees them.
type traffic struct{ BytesIn, BytesOut, FramesIn, FramesOut int }

func (a *traffic) add(b traffic) {
	a.BytesIn += b.BytesIn
	a.BytesOut += b.BytesOut
	a.FramesIn += b.FramesIn
	a.FramesOut += b.FramesOut
}

// receiveReset reads to a reset.
var receiveReset = tcptest.ReceiveReset

// hello is a line that is echoed.
const hello = "hello\n"

var oneLine = traffic{len(hello), len(hello), 1, 1}

// customer is a client of a service that ends in one way.
type customer struct {
	service string
	times   int     // how many there are
	counts  traffic // of each
	end     func(t *testing.T, conn net.Conn)
	stays   bool // the client does not close its side
}

// customers are those that come before the drain.
func customers(kick func(t *testing.T, service string)) []customer {
	tooLong := strings.Repeat("x", 101) + "\n"
	const complaint = "error: line too long (max 100 bytes)\n"
	wait := func(t *testing.T, conn net.Conn) { receiveRest(t, conn, "") }
	fin := func(t *testing.T, conn net.Conn) {
		echoes(t, conn, hello)
		closeWrite(t, conn)
		receiveRest(t, conn, "")
	}
	reset := func(t *testing.T, conn net.Conn) {
		echoes(t, conn, hello)
		conn.(*net.TCPConn).SetLinger(0)
	}
	kicked := func(service string) func(t *testing.T, conn net.Conn) {
		return func(t *testing.T, conn net.Conn) {
			echoes(t, conn, hello)
			kick(t, service)
			receiveRest(t, conn, "")
		}
	}
	return []customer{
		{service: "lines", times: 20, counts: oneLine, end: fin},
		{service: "lines", times: 5, counts: oneLine, end: reset},
		{service: "lines", times: 3, end: func(*testing.T, net.Conn) {}}, // probes
		{service: "lines", times: 2, counts: traffic{len(tooLong), len(complaint), 0, 1}, end: func(t *testing.T, conn net.Conn) {
			send(t, conn, tooLong)
			closeWrite(t, conn)
			receiveRest(t, conn, complaint)
		}},
		{service: "idle", times: 2, end: wait},
		{service: "silent", times: 2, end: wait},
		{service: "first", times: 2, end: wait},
		{service: "half", times: 2, counts: traffic{BytesIn: 4}, end: func(t *testing.T, conn net.Conn) {
			send(t, conn, "half")
			receiveRest(t, conn, "")
		}},
		{service: "old", times: 2, end: wait},
		{service: "stuck", times: 2, counts: traffic{longReply, unknown, 1, 1}, end: func(t *testing.T, conn net.Conn) {
			send(t, conn, strings.Repeat("x", longReply-1)+"\n")
		}, stays: true},
		{service: "kicked", times: 1, counts: oneLine, end: kicked("kicked")},
		{service: "kickedpair", times: 1, counts: oneLine, end: kicked("kickedpair")},
		{service: "front", times: 10, counts: oneLine, end: fin},
		{service: "front", times: 5, counts: oneLine, end: reset},
		{service: "deaf", times: 2, end: func(t *testing.T, conn net.Conn) {
			closeWrite(t, conn)
			receiveReset(t, conn)
		}},
		{service: "rude", times: 2, counts: traffic{BytesIn: len(hello)}, end: func(t *testing.T, conn net.Conn) {
			send(t, conn, hello)
			receiveReset(t, conn)
		}},
		{service: "polite", times: 2, end: wait},
	}
}

// unknown is a count that depends on the buffers of the kernel.
const unknown = -1 << 30

// hang sends a long line and reads only the first byte of the reply.
func hang(t *testing.T, conn net.Conn) {
	send(t, conn, strings.Repeat("x", longReply-1)+"\n")
	receive(t, conn, "x")
}

// endings is a process with the services, and what its clients have counted.
type endings struct {
	*administered

	mu      sync.Mutex
	clients map[string]int
	counts  map[string]traffic
}

func startEndings(t *testing.T) *endings {
	over := make(chan struct{})
	deaf := serveUpstream(t, func(*net.TCPConn) { <-over })
	rude := serveUpstream(t, func(conn *net.TCPConn) {
		io.ReadFull(conn, make([]byte, len(hello)))
		conn.SetLinger(0)
		conn.Close()
	})
	polite := serveUpstream(t, func(*net.TCPConn) {})
	t.Cleanup(func() { close(over) })
	ports := freePorts(t, 2)
	name := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(name, fmt.Appendf(nil, endingServices, ports, deaf, rude, polite, ports+1), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &endings{administered: newAdministered(t), clients: map[string]int{}, counts: map[string]traffic{}}
	e.process = launch(t, "wireline", "--config="+name, "--admin.address="+e.side)
	e.awaitIn(&e.stderr, "msg=listening ", strings.Count(endingServices, "tcp: {address"))
	return e
}

// address returns where a service listens.
func (e *endings) address(service string) string {
	return (&services{process: e.process}).of(service, "listening")["addr"]
}

// come has a customer come once, and counts.
func (e *endings) come(t *testing.T, c customer) net.Conn {
	owner := t
	if c.stays {
		owner = e.t
	}
	conn := testutil.Dial(owner, "tcp", e.address(c.service))
	c.end(t, conn)
	if !c.stays {
		conn.Close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	counted := []string{c.service}
	if c.service == "front" || c.service == "kickedpair" {
		counted = append(counted, "lines") // their upstream
	}
	for _, service := range counted {
		counts := c.counts
		if service != "lines" && len(counted) > 1 {
			counts.FramesIn, counts.FramesOut = 0, 0 // a proxy has none
		}
		e.clients[service]++
		sum := e.counts[service]
		sum.add(counts)
		e.counts[service] = sum
	}
	return conn
}

// awaitEnds waits until only so many connections are open, and returns the metrics.
func (e *endings) awaitEnds(open float64) (m map[string]float64) {
	e.t.Helper()
	testutil.Eventually(e.t, "the ends of the clients", func() bool {
		m = e.metrics()
		sum := 0.0
		for service, clients := range e.clients {
			if m[sample("connections_accepted_total", service)] != float64(clients) {
				return false
			}
			sum += m[sample("connections", service)]
		}
		return sum == open
	})
	return m
}

// sample returns the name of a metric of a service.
func sample(name, service string) string {
	return fmt.Sprintf("wireline_%s{service=%q}", name, service)
}

// check compares the metrics with what the clients have counted.
func (e *endings) check(m map[string]float64) {
	e.t.Helper()
	for service, want := range e.counts {
		flow := func(name, direction string) int {
			return int(m[fmt.Sprintf("wireline_%s_total{direction=%q,service=%q}", name, direction, service)])
		}
		got := traffic{flow("bytes", "in"), flow("bytes", "out"), flow("frames", "in"), flow("frames", "out")}
		if want.BytesOut < 0 {
			want.BytesOut = got.BytesOut
		}
		if got != want {
			e.t.Errorf("%s: the metrics say %+v, the clients %+v", service, got, want)
		}
		accepted, open, ended := m[sample("connections_accepted_total", service)], m[sample("connections", service)], 0.0
		for _, n := range ends(m, service) {
			ended += float64(n)
		}
		if accepted != ended+open || accepted != float64(e.clients[service]) {
			e.t.Errorf("%s: %v accepted, %v ended, %v open; %d have come", service, accepted, ended, open, e.clients[service])
		}
		if n := m[sample("connection_duration_seconds_count", service)]; n != ended {
			e.t.Errorf("%s: %v durations of %v connections", service, n, ended)
		}
	}
}

var endedLabels = regexp.MustCompile(`^wireline_connections_ended_total\{by="(\w+)",reason="(\w+)",service="(\w+)"\}$`)

// ends returns how many connections of a service have ended, by party and reason.
func ends(m map[string]float64, service string) map[string]int {
	list := map[string]int{}
	for key, n := range m {
		if labels := endedLabels.FindStringSubmatch(key); labels != nil && labels[3] == service {
			list[labels[1]+" "+labels[2]] = int(n)
		}
	}
	return list
}

// checkRecords compares the metrics with the records in the log.
func (e *endings) checkRecords(m map[string]float64) {
	e.t.Helper()
	want, all := map[string]map[string]int{}, 0
	for service := range e.clients {
		list := ends(m, service)
		if len(list) > 0 {
			want[service] = list
		}
		for _, n := range list {
			all += n
		}
	}
	testutil.Eventually(e.t, "the records", func() bool { return len(e.find("msg", "connection")) >= all })
	got := map[string]map[string]int{}
	for _, r := range e.find("msg", "connection") {
		if got[r["service"]] == nil {
			got[r["service"]] = map[string]int{}
		}
		got[r["service"]][r["by"]+" "+r["reason"]]++
	}
	if diff := cmp.Diff(got, want); diff != "" {
		e.t.Errorf("records and metrics (-records +metrics):\n%s", diff)
	}
}

// Clients of echo servers and proxies end in many ways, the last of them in a drain. The metrics
// are what the clients have counted, and every reason in the records is among them, as often.
func TestEndsAddUp(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	e := startEndings(t)
	kick := func(t *testing.T, service string) {
		if status, body := e.do("DELETE", "/api/connections?service="+service); status != http.StatusOK || body != "{\"ended\":1}\n" {
			t.Errorf("DELETE: %d %s", status, body)
		}
	}
	t.Run("clients", func(t *testing.T) {
		for i, c := range customers(kick) {
			t.Run(fmt.Sprint(c.service, i), func(t *testing.T) {
				t.Parallel()
				for range c.times {
					e.come(t, c)
				}
			})
		}
	})
	for range 2 { // nobody listens there: it may be reset before it knows that it is connected
		if conn, err := net.Dial("tcp", e.address("nowhere")); err == nil {
			conn.Close()
		}
		e.clients["nowhere"]++
	}
	e.counts["nowhere"] = traffic{}
	m := e.awaitEnds(0)
	e.check(m)
	e.checkRecords(m)
	if n := m[sample("probes_total", "lines")]; n != 3 {
		t.Errorf("%v probes, want 3", n)
	}
	for service, want := range map[string]map[string]int{
		"idle": {"server idle_timeout": 2}, "silent": {"server read_timeout": 2}, "first": {"server first_frame_timeout": 2},
		"half": {"server frame_timeout": 2}, "old": {"server max_lifetime": 2}, "stuck": {"server write_timeout": 2},
		"kicked": {"server kicked": 1}, "kickedpair": {"server kicked": 1}, "nowhere": {"server no_upstream": 2},
		"deaf": {"server half_close_timeout": 2}, "rude": {"upstream reset": 2}, "polite": {"upstream fin": 2},
		"front": {"client fin": 10, "client reset": 5}, "lines": {"client fin": 34, "client reset": 10, "server frame_error": 2},
	} {
		if diff := cmp.Diff(want, ends(m, service)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", service, diff)
		}
	}

	var leaving []net.Conn
	idle := func(t *testing.T, conn net.Conn) { echoes(t, conn, hello) }
	for _, c := range []customer{{"lines", 3, oneLine, idle, true}, {"front", 2, oneLine, idle, true}} {
		for range c.times {
			leaving = append(leaving, e.come(t, c))
		}
	}
	e.come(t, customer{service: "busy", counts: traffic{longReply, unknown, 1, 1}, end: hang, stays: true})
	testutil.Eventually(t, "the end of the batch with the long line", func() bool {
		return e.metrics()[`wireline_frames_total{direction="in",service="busy"}`] == 1
	})
	e.signal(syscall.SIGTERM)
	for _, conn := range leaving {
		receiveRest(t, conn, "")
		conn.Close()
	}
	m = e.awaitEnds(1)
	e.check(m)
	e.checkRecords(m)
	if n := ends(m, "lines")["server drain"]; n < 3 {
		t.Errorf("%d connections were drained, want 3 or more", n)
	}
	e.signal(syscall.SIGTERM)
	if code := e.wait(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if r := e.find("reason", "cut"); len(r) != 1 || r[0]["service"] != "busy" {
		t.Errorf("records of a cut: %v", r)
	}
}
