package toxitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"wireline/client"
	"wireline/handler"
	"wireline/tcptest"
)

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	// Toxiproxy leaves these behind when it is stopped.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).write"))
}

const (
	conns      = 4
	goroutines = 5 // for each Conn
	patience   = 30 * time.Second
	deadline   = 300 * time.Millisecond // of each request
	faultTime  = time.Second            // for how long each fault lasts
)

// server echoes lines, and notes how often it has served each id.
type server struct {
	*tcptest.Server

	mu     sync.Mutex
	served map[string]int
}

func newServer(t *testing.T) *server {
	s := &server{served: make(map[string]int)}
	s.Server = tcptest.NewServer(&handler.Frames{OnFrame: s.serve, OnRecord: func(handler.Record) {}})
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(c *handler.Client, line []byte) error {
	id, _ := idOf(line)
	s.mu.Lock()
	s.served[id]++
	s.mu.Unlock()
	return c.WriteFrame(line)
}

// times returns how often the request with the id was served.
func (s *server) times(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[id]
}

func idOf(line []byte) (id string, ok bool) {
	id, _, ok = strings.Cut(string(line), " ")
	return id, ok
}

// newProxy starts a toxiproxy before a server.
func newProxy(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(api, "test", "127.0.0.1:0", upstream)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// toxic is a fault, as toxiproxy's API has it.
type toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Attributes map[string]any `json:"attributes"`
}

func (x toxic) add(t *testing.T, p *toxiproxy.Proxy) (remove func()) {
	t.Helper()
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	added, err := p.Toxics.AddToxicJson(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := p.Toxics.RemoveToxic(context.Background(), added.Name); err != nil {
			t.Error(err)
		}
	}
}

type attrs = map[string]any

// faults are the toxics, in both directions.
func faults() map[string]toxic {
	all := make(map[string]toxic)
	for name, x := range map[string]toxic{
		"delay":        {"latency", "", attrs{"latency": 200, "jitter": 200}},
		"drop":         {"timeout", "", attrs{"timeout": 0}},
		"drop and cut": {"timeout", "", attrs{"timeout": 100}},
		"reset":        {"reset_peer", "", attrs{"timeout": 0}},
		"late reset":   {"reset_peer", "", attrs{"timeout": 50}},
		"slow close":   {"slow_close", "", attrs{"delay": 500}},
		"limit data":   {"limit_data", "", attrs{"bytes": 100_001}},
		"bandwidth":    {"bandwidth", "", attrs{"rate": 50}},
		"slicer":       {"slicer", "", attrs{"average_size": 7, "size_variation": 5, "delay": 100}},
	} {
		for _, x.Stream = range []string{"upstream", "downstream"} {
			all[name+" "+x.Stream] = x
		}
	}
	return all
}

// Whatever happens on the way, each request ends with its own answer or an error, and the server has
// served it once at most. When the fault is over, everything works again.
func TestFaults(t *testing.T) {
	for name, x := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			p := newProxy(t, s.Addr)
			l := newLoad(t, s, p.Listen)
			l.awaitAnswers(50)
			remove := x.add(t, p)
			time.Sleep(faultTime)
			remove()
			if x.Type == "reset_peer" || x.Type == "timeout" || x.Type == "limit_data" {
				// Toxiproxy may leave a link that a toxic has closed half open. A new connection
				// is without the toxic.
				p.Stop()
				if err := p.Start(); err != nil {
					t.Fatal(err)
				}
			}
			l.awaitAnswers(50)
			l.stop()
		})
	}
}

// A proxy that goes away and comes back again and again.
func TestOutages(t *testing.T) {
	s := newServer(t)
	p := newProxy(t, s.Addr)
	l := newLoad(t, s, p.Listen)
	for range 5 {
		l.awaitAnswers(50)
		p.Stop()
		time.Sleep(100 * time.Millisecond)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	l.awaitAnswers(50)
	l.stop()
}

// load makes requests, and judges how they end.
type load struct {
	t      *testing.T
	server *server
	dialer *client.Dialer
	ctx    context.Context
	end    context.CancelFunc
	ended  sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond
	answered int
	failed   map[string]int
}

func newLoad(t *testing.T, s *server, address string) *load {
	t.Helper()
	l := &load{t: t, server: s, failed: make(map[string]int)}
	l.changed.L = &l.mu
	l.ctx, l.end = context.WithCancel(t.Context())
	l.dialer = &client.Dialer{
		ID:             idOf,
		Backoff:        client.Backoff{First: 10 * time.Millisecond, Max: 100 * time.Millisecond},
		ConnectTimeout: time.Second,
		KeepAlive:      500 * time.Millisecond,
		Ping:           func() []byte { return []byte("ping") },
		Log:            slog.New(slog.DiscardHandler),
		OnFrame: func(c *client.Conn, frame []byte) error {
			if string(frame) != "ping" {
				return fmt.Errorf("a frame that nobody has asked for: %.80q", frame)
			}
			return nil
		},
	}
	t.Cleanup(l.stop)
	for i := range conns {
		c, err := l.dialer.Open("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		for j := range goroutines {
			l.ended.Go(func() { l.run(c, fmt.Sprintf("%d.%d", i, j)) })
		}
	}
	return l
}

// run makes requests on c until the end.
func (l *load) run(c *client.Conn, name string) {
	for n := 0; l.ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%s.%d", name, n)
		request := id + " " + strings.Repeat(string(rune('a'+n%26)), rand.IntN(2000))
		ctx, cancel := context.WithTimeout(l.ctx, deadline)
		answer, err := c.Request(ctx, []byte(request))
		cancel()
		l.judge(id, request, string(answer), err)
	}
}

// judge checks how a request has ended.
func (l *load) judge(id, request, answer string, err error) {
	times := l.server.times(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && answer != request:
		l.t.Errorf("request %.80q got the answer %.80q", request, answer)
	case err == nil && times != 1, times > 1:
		l.t.Errorf("request %s was served %d times; its error: %v", id, times, err)
	case err == nil:
		l.answered++
		l.changed.Broadcast()
	case errors.Is(err, client.ErrLost):
		l.failed["lost"]++
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		l.failed["gave up"]++
	default:
		l.t.Errorf("request %s: %v", id, err)
	}
}

// awaitAnswers waits for n further answers.
func (l *load) awaitAnswers(n int) {
	l.t.Helper()
	timer := time.AfterFunc(patience, l.changed.Broadcast)
	defer timer.Stop()
	end := time.Now().Add(patience)
	l.mu.Lock()
	defer l.mu.Unlock()
	for until := l.answered + n; l.answered < until; l.changed.Wait() {
		if time.Now().After(end) {
			l.t.Fatalf("%d answers, then none; failed: %v; %+v", l.answered, l.failed, l.dialer.Totals())
		}
	}
}

// stop ends the requests, and looks whether all was counted.
func (l *load) stop() {
	l.end()
	l.ended.Wait()
	l.dialer.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	totals := l.dialer.Totals()
	if totals.Answers != uint64(l.answered) || totals.InFlight != 0 || totals.Open != 0 {
		l.t.Errorf("%d answers, but %+v", l.answered, totals)
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	for id, times := range l.server.served {
		if times > 1 && id != "ping" {
			l.t.Errorf("%s was served %d times", id, times)
		}
	}
}
