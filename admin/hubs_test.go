package admin_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"wireline/admin"
	"wireline/handler"
	"wireline/hub"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// quietBus is a bus with nobody else on it.
type quietBus struct {
	hub.Bus // nil: the tests call no other method
	mu      sync.Mutex
	stats   hub.BusStats
}

func (b *quietBus) Start(hub.Local) error                      { return nil }
func (b *quietBus) Listen(string) (stop func())                { return func() {} }
func (b *quietBus) Publish(string, []byte) error               { return nil }
func (b *quietBus) Release()                                   {}
func (b *quietBus) Close() error                               { return nil }
func (b *quietBus) Send(context.Context, string, []byte) error { return hub.ErrUnknown }

func (b *quietBus) Claim(context.Context, string, hub.Second, func()) (hub.Claim, error) {
	return b, nil
}

func (b *quietBus) Stats() hub.BusStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

func (b *quietBus) set(s hub.BusStats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats = s
}

// newHubHouse is a house with a server whose clients join a hub with their first line, and enter a
// room with each further one.
func newHubHouse(t *testing.T, h *hub.Hub) (*house, *tcptest.Server) {
	t.Helper()
	server := start(t, "devices", &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
		var err error
		if _, ok := h.Key(c); ok {
			err = h.Enter(c, string(line))
		} else {
			err = h.Join(c, string(line))
		}
		if err != nil {
			return err
		}
		return c.WriteFrame(line)
	}, OnRecord: func(handler.Record) {}})
	t.Cleanup(func() { h.Close() })
	return newHouse(t, func(s *admin.Server) {
		s.Servers = append(s.Servers, server.TCP)
		s.Hubs = []*hub.Hub{h, {Name: "spare"}, {Name: "spare"}}
	}), server
}

func TestHubs(t *testing.T) {
	bus := new(quietBus)
	h := &hub.Hub{Name: "fleet", Bus: bus}
	e, server := newHubHouse(t, h)
	c, other := e.connect(server), e.connect(server)
	for _, line := range []string{"device-7", "north", "all"} {
		c.say(t, line)
	}
	other.say(t, "device-8")
	h.Send(t.Context(), "device-7", []byte("hello"))
	h.Send(t.Context(), "device-9", []byte("hello"))
	h.Publish(t.Context(), "all", []byte("hello"))
	since := time.Now().Add(-time.Minute)
	bus.set(hub.BusStats{Connected: true, Since: since, Reconnects: 2, Nodes: 3, Out: 4, In: 5, Dropped: 6, RoundTrip: 7 * time.Millisecond, Claims: 8, Lost: 9})

	list := e.list("/api/hubs", "hubs")
	if len(list) != 3 || list[0]["name"] != "fleet" || list[1]["name"] != "spare" || list[2]["name"] != "spare-2" {
		t.Fatalf("the hubs are %v", list)
	}
	got := list[0]
	for key, want := range map[string]any{
		"clients": 2.0, "rooms": 2.0, "memberships": 2.0, "left": 0.0, "replaced": 0.0, "kicked": 0.0,
		"joins":     map[string]any{"joined": 2.0, "taken": 0.0, "failed": 0.0},
		"sends":     map[string]any{"sent": 1.0, "slow": 0.0, "gone": 0.0, "unknown": 1.0, "failed": 0.0},
		"published": 1.0, "publish_failures": 0.0,
		"deliveries":       map[string]any{"sent": 1.0, "slow": 0.0, "gone": 0.0},
		"requests_waiting": 0.0,
		"requests":         map[string]any{"answered": 0.0, "failed": 0.0},
		"bus": map[string]any{"connected": true, "since": since.Format(time.RFC3339Nano), "reconnects": 2.0, "nodes": 3.0, "out": 4.0, "in": 5.0,
			"dropped": 6.0, "round_trip_s": 0.007, "claims": 8.0, "lost": 9.0},
	} {
		if fmt.Sprint(got[key]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if bus, there := list[1]["bus"]; there {
		t.Errorf("a hub without a bus has %v", bus)
	}
	bus.set(hub.BusStats{})
	if b := e.list("/api/hubs", "hubs")[0]["bus"].(map[string]any); b["since"] != nil || b["round_trip_s"] != nil || b["connected"] != false {
		t.Errorf("a bus that was never connected: %v", b)
	}
}

// A connection is listed with its key, and found by it.
func TestConnectionsOfHub(t *testing.T) {
	h := &hub.Hub{Name: "fleet"}
	e, server := newHubHouse(t, h)
	c := e.connect(server)
	c.say(t, "device-7")
	c.say(t, "north")
	e.connect(server).say(t, "device-8")
	e.connect(e.echo).say(t, "device-7 is my text")
	list := e.awaitConnections("/api/connections?text=KEY%3DDevice-7", 1)
	if got, want := fmt.Sprint(list[0]["joined"]), "[map[hub:fleet key:device-7 rooms:1]]"; got != want {
		t.Errorf("joined as %s, want %s", got, want)
	}
	if list := e.list("/api/connections?service=echo", "connections"); list[0]["joined"] != nil {
		t.Errorf("a client of no hub: %v", list[0])
	}
	if n := len(e.list("/api/connections?service=devices&text=rooms%3D", "connections")); n != 2 {
		t.Errorf("%d clients have rooms=, want 2", n)
	}
}

func TestHubMetrics(t *testing.T) {
	bus := new(quietBus)
	h := &hub.Hub{Name: "fleet", Bus: bus}
	e, server := newHubHouse(t, h)
	c := e.connect(server)
	c.say(t, "device-7")
	c.say(t, "north")
	bus.set(hub.BusStats{Connected: true, Reconnects: 2, Nodes: 3, Out: 4, In: 5, Dropped: 6, RoundTrip: time.Second, Claims: 8, Lost: 9})
	h.Send(t.Context(), "device-7", []byte("hello"))
	h.Publish(t.Context(), "north", []byte("hello"))
	m := e.scrape()
	for name, want := range map[string]float64{
		`clients{hub="fleet"}`: 1, `clients{hub="spare"}`: 0, `clients{hub="spare-2"}`: 0,
		`rooms{hub="fleet"}`: 1, `memberships{hub="fleet"}`: 1,
		`joins_total{hub="fleet",result="joined"}`: 1, `joins_total{hub="fleet",result="taken"}`: 0, `joins_total{hub="fleet",result="failed"}`: 0,
		`left_total{hub="fleet"}`: 0, `replaced_total{hub="fleet"}`: 0, `kicked_total{hub="fleet"}`: 0,
		`sends_total{hub="fleet",result="sent"}`: 1, `sends_total{hub="fleet",result="unknown"}`: 0,
		`published_total{hub="fleet"}`: 1, `publish_failures_total{hub="fleet"}`: 0,
		`deliveries_total{hub="fleet",result="sent"}`: 1, `deliveries_total{hub="fleet",result="slow"}`: 0,
		`requests_total{hub="fleet",result="answered"}`: 0, `requests_waiting{hub="fleet"}`: 0,
		`bus_up{hub="fleet"}`: 1, `bus_nodes{hub="fleet"}`: 3, `bus_messages_total{direction="out",hub="fleet"}`: 4,
		`bus_messages_total{direction="in",hub="fleet"}`: 5, `bus_dropped_total{hub="fleet"}`: 6, `bus_reconnects_total{hub="fleet"}`: 2,
		`bus_round_trip_seconds{hub="fleet"}`: 1, `bus_claims{hub="fleet"}`: 8, `bus_claims_lost_total{hub="fleet"}`: 9,
	} {
		if got, ok := m["wireline_hub_"+name]; got != want || !ok {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, ok := m[`wireline_hub_bus_up{hub="spare"}`]; ok {
		t.Error("a hub without a bus has metrics of one")
	}
	_, body := e.do("GET", "/metrics", "")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}

// While clients come and go, no total of a hub falls, and clients are what has joined and not left.
func TestHubMetricsNeverFall(t *testing.T) {
	h := &hub.Hub{Name: "fleet", Second: hub.KickFirst}
	e, server := newHubHouse(t, h)
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for j := range 30 {
				c := e.connect(server)
				c.say(t, fmt.Sprint("device ", i, " ", j%5))
				c.say(t, "room")
				h.Send(context.Background(), "nobody", nil)
				c.Close()
			}
		})
	}
	e.neverFalls(&clients, func(m map[string]float64) {
		joined, left := m[`wireline_hub_joins_total{hub="fleet",result="joined"}`], m[`wireline_hub_left_total{hub="fleet"}`]
		if now := m[`wireline_hub_clients{hub="fleet"}`]; now != joined-left {
			t.Fatalf("%v clients, %v have joined and %v left", now, joined, left)
		}
	})
	testutil.Eventually(t, "all have left", func() bool { return e.scrape()[`wireline_hub_left_total{hub="fleet"}`] == 120 })
}
