package adminctl

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wireline/admin"
	"wireline/internal/testutil"
)

// The keys that end top do so also while an answer is missing.
func TestKeysWhileAnAnswerIsMissing(t *testing.T) {
	asked := make(chan struct{}, 10)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer web.Close()
	for name, last := range map[string]byte{"q": 'q', "Ctrl-C": 3} {
		t.Run(name, func(t *testing.T) {
			cmd, err := Parse("top", nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := newClient(admin.Config{Address: strings.TrimPrefix(web.URL, "http://")})
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			keys := make(chan byte)
			w := &watcher{cmd: cmd, client: c, keys: keys, sorting: "-rate"}
			done := make(chan []string, 1)
			go func() { done <- w.update(t.Context(), 10) }()
			testutil.Await(t, "the request", asked)
			keys <- 's'
			keys <- last
			testutil.Await(t, "the end of the update", done)
			if !w.quit || w.sorting != "-age" {
				t.Errorf("quit %v, sorting %s", w.quit, w.sorting)
			}
		})
	}
}

// A time of another day has its date.
func TestClock(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 30, 0, 0, time.Local)
	for want, at := range map[string]time.Time{
		"00:29:59":            now.Add(-time.Second),
		"2026-02-28 23:59:00": now.Add(-31 * time.Minute),
		"2025-03-01 00:30:00": time.Date(2025, 3, 1, 0, 30, 0, 0, time.Local),
	} {
		if got := clock(at, now); got != want {
			t.Errorf("at %v, %v is %q, want %q", now, at, got, want)
		}
	}
}

// A hub is shown with its rates and the state of its bus.
func TestHubTable(t *testing.T) {
	since := time.Now()
	hub := admin.Hub{Name: "fleet", Clients: 5, Rooms: 2, Joins: map[string]int64{"joined": 7}, Sends: map[string]int64{"sent": 1, "slow": 2},
		Published: 3, Deliveries: map[string]int64{"sent": 4, "slow": 1}, Bus: &admin.Bus{Since: &since, Nodes: 3, Dropped: 6}}
	before := &screen{at: since.Add(-time.Second), hubs: admin.Hubs{Hubs: []admin.Hub{hub}}}
	hub.Sends, hub.Published, hub.Deliveries = map[string]int64{"sent": 10, "slow": 3}, 23, map[string]int64{"sent": 34, "slow": 2}
	s := &screen{at: since.Add(time.Second), hubs: admin.Hubs{Hubs: []admin.Hub{hub}}, before: before}
	want := "fleet 5 2 7 5 10 15 5 0 AWAY 3 6 " + since.Format(time.TimeOnly)
	if got := strings.Join(strings.Fields(s.hubTable().lines()[1]), " "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	hub.Bus.Connected = true
	if got := s.hubTable().lines()[1]; !strings.Contains(got, "  connected  ") {
		t.Errorf("%q", got)
	}
}

// What is wrong is one line of the screen.
func TestNoAnswer(t *testing.T) {
	if got := noAnswer(errors.New("a\x1b\nb")); got != "no answer: a?; b" {
		t.Errorf("%q", got)
	}
}

// A reload has more time than other requests.
func TestReloadTimeout(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	defer web.Close()
	cmd, err := Parse("reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClient(admin.Config{Address: strings.TrimPrefix(web.URL, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := reload(t.Context(), cmd, c, io.Discard); err != nil || c.http.Timeout != reloadTimeout {
		t.Errorf("%v, the timeout is %v", err, c.http.Timeout)
	}
}
