package admin_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"wireline/admin"
	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
)

// scrape returns the metrics of wireline, by name and labels.
func (h *house) scrape() map[string]float64 {
	h.t.Helper()
	status, body := h.do("GET", "/metrics", "")
	if status != http.StatusOK {
		h.t.Fatalf("GET /metrics: %d %s", status, body)
	}
	return testutil.Metrics(h.t, body, "wireline_")
}

// At the end of a run, the metrics add up to what the clients have counted.
func TestMetricsAddUp(t *testing.T) {
	h := newHouse(t)
	const clients, lines = 20, 10
	var bytes int
	for i := range clients {
		server := h.echo
		if i%2 == 1 {
			server = h.proxy
		}
		c := h.connect(server)
		for range lines {
			line := strings.Repeat("x", rand.IntN(100))
			c.say(t, line)
			if server == h.echo {
				bytes += len(line) + 1
			} else {
				bytes += 2 * (len(line) + 1) // echo sees those of the relay too, at the end
			}
		}
		if i%4 < 2 {
			c.Close()
		}
	}
	var m map[string]float64
	testutil.Eventually(t, "the end of half of the clients", func() bool {
		m = h.scrape()
		return m[`wireline_connections{service="echo"}`] == 10 && m[`wireline_connections{service="relay"}`] == 5
	})
	for _, s := range []struct {
		name     string
		accepted float64
	}{{"echo", clients}, {"relay", clients / 2}} {
		ended := 0.0
		for key, v := range m {
			if strings.HasPrefix(key, "wireline_connections_ended_total{") && strings.Contains(key, `service="`+s.name+`"`) {
				ended += v
			}
		}
		label := fmt.Sprintf("{service=%q}", s.name)
		accepted, open := m["wireline_connections_accepted_total"+label], m["wireline_connections"+label]
		if accepted != s.accepted || accepted != ended+open {
			t.Errorf("%s: %v accepted, %v ended, %v open; want %v accepted", s.name, accepted, ended, open, s.accepted)
		}
		if n := m["wireline_connection_duration_seconds_count"+label]; n != ended {
			t.Errorf("%s: %v durations of %v connections", s.name, n, ended)
		}
	}
	in, out := m[`wireline_bytes_total{direction="in",service="echo"}`], m[`wireline_bytes_total{direction="out",service="echo"}`]
	relayed := m[`wireline_bytes_total{direction="in",service="relay"}`]
	if in != out || in+relayed != float64(bytes) {
		t.Errorf("echo has read %v bytes and written %v, the relay %v; the clients have sent %d", in, out, relayed, bytes)
	}
	if n := m[`wireline_frames_total{direction="in",service="echo"}`]; n != clients*lines {
		t.Errorf("%v frames, want %d", n, clients*lines)
	}
	upstream := fmt.Sprintf(`{service="relay",upstream=%q}`, h.echo.Addr)
	if m["wireline_upstream_up"+upstream] != 1 || m["wireline_upstream_connections"+upstream] != 5 ||
		m["wireline_upstream_connect_duration_seconds_count"+upstream] != clients/2 {
		t.Errorf("the upstream: up %v, %v connections, %v connects", m["wireline_upstream_up"+upstream],
			m["wireline_upstream_connections"+upstream], m["wireline_upstream_connect_duration_seconds_count"+upstream])
	}
	if m[fmt.Sprintf(`wireline_build_info{goversion=%q,version="v1.2.3"}`, runtime.Version())] != 1 {
		t.Error("no wireline_build_info")
	}
}

// opaque is a handler that does not show its connections.
type opaque struct{}

func (opaque) Handle(_ context.Context, conn net.Conn) {
	io.Copy(conn, conn)
	conn.Close()
}

func (opaque) Close() error { return nil }

// Of a handler that does not tell, there are the numbers that the server knows, and no others.
func TestMetricsOfOpaqueHandler(t *testing.T) {
	server := start(t, "opaque", opaque{})
	h := newHouse(t, func(s *admin.Server) { s.Servers = []*tcp.Server{server.TCP} })
	c, other := h.connect(server), h.connect(server)
	c.say(t, "a")
	other.say(t, "b")
	c.Close()
	var m map[string]float64
	testutil.Eventually(t, "the end of one", func() bool {
		m = h.scrape()
		return m[`wireline_connections{service="opaque"}`] == 1
	})
	if n := m[`wireline_connections_accepted_total{service="opaque"}`]; n != 2 {
		t.Errorf("%v accepted, want 2", n)
	}
	for key := range m {
		for _, name := range []string{"connections_ended_total", "connection_duration_seconds", "bytes_total", "frames_total"} {
			if strings.HasPrefix(key, "wireline_"+name) {
				t.Errorf("there is %s", key)
			}
		}
	}
	x := h.list("/api/services", "services")[0]
	if x["connections"] != 1.0 || x["accepted"] != 2.0 || len(x["ended"].([]any)) != 0 {
		t.Errorf("the service is %v", x)
	}
}

// A file name may have bytes that are not UTF-8, which a label cannot have.
func TestMetricsOfOddNames(t *testing.T) {
	odd := []string{"unix:/nowhere/\xff", "unix:/nowhere/\xfe", `unix:/nowhere/\xff`}
	server := start(t, "odd", &proxy.Proxy{Config: proxy.Config{Upstreams: odd}, Log: slog.New(slog.DiscardHandler)})
	h := newHouse(t, func(s *admin.Server) { s.Servers, s.Version = []*tcp.Server{server.TCP}, "v\xff" })
	m := h.scrape()
	for _, want := range []string{
		`wireline_upstream_weight{service="odd",upstream="unix:/nowhere/\\xff"}`,
		`wireline_upstream_weight{service="odd",upstream="unix:/nowhere/\\xfe"}`,
		`wireline_upstream_weight{service="odd",upstream="unix:/nowhere/\\\\xff"}`,
		fmt.Sprintf(`wireline_build_info{goversion=%q,version="v\\xff"}`, runtime.Version()),
	} {
		if m[want] != 1 {
			t.Errorf("%s is %v, want 1", want, m[want])
		}
	}
}

func TestMetricsLint(t *testing.T) {
	h := newHouse(t)
	h.connect(h.proxy).say(t, "hello")
	_, body := h.do("GET", "/metrics", "")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, name := range []string{"go_goroutines", "wireline_log_dropped_total", "wireline_panics_total", "wireline_accept_errors_total"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("%s is missing", name)
		}
	}
}

// While connections come and go, no total falls from one scrape to the next.
func TestMetricsNeverFall(t *testing.T) {
	h := newHouse(t)
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for range 40 {
				server := h.echo
				if i%2 == 1 {
					server = h.proxy
				}
				c := h.connect(server)
				c.say(t, "some line")
				c.Close()
			}
		})
	}
	last := h.neverFalls(&clients, func(map[string]float64) {})
	if got := last[`wireline_frames_total{direction="in",service="echo"}`]; got != 160 {
		t.Errorf("%v frames, want 160", got)
	}
}

// neverFalls scrapes until the clients have ended, and fails if a total is lower than in the scrape
// before. It calls check with each scrape, and returns the last value of each metric.
func (h *house) neverFalls(clients *sync.WaitGroup, check func(map[string]float64)) map[string]float64 {
	h.t.Helper()
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	last := make(map[string]float64)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		m := h.scrape()
		for key, v := range last {
			name, _, _ := strings.Cut(key, "{")
			isTotal := strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_count")
			if now, ok := m[key]; isTotal && (!ok || now < v) {
				h.t.Fatalf("%s was %v, and is %v (%t)", key, v, now, ok)
			}
		}
		check(m)
		maps.Copy(last, m)
	}
	return last
}
