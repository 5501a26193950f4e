// Package deploy has what operators load into other programs: alert rules and a dashboard. Its
// tests compare them with the metrics that there are.
package deploy

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"wireline/admin"
	"wireline/hub"
	"wireline/proxy"
	"wireline/tcp"
)

// bus is the bus of a hub.
type bus struct{ hub.Bus }

func (bus) Stats() hub.BusStats { return hub.BusStats{RoundTrip: time.Millisecond} }

// metricNames returns the names of the metrics of a program with a proxy and a hub.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	s := &admin.Server{Servers: []*tcp.Server{{Handler: &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"127.0.0.1:1"}}}}}}
	s.Servers = append(s.Servers, &tcp.Server{Name: "plain"})
	s.Hubs = []*hub.Hub{{Bus: bus{}}}
	server := httptest.NewServer(s)
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	names := make(map[string]bool)
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)`).FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
		if m[2] == "histogram" {
			names[m[1]+"_bucket"], names[m[1]+"_count"], names[m[1]+"_sum"] = true, true, true
		}
	}
	names["wireline_connections_ended_total"] = true // there is none before the first end
	return names
}

var used = regexp.MustCompile(`\b(?:wireline|process)_[a-z_0-9]+`)

// Every metric that the rules and the dashboard use exists.
func TestNames(t *testing.T) {
	names := metricNames(t)
	for _, file := range []string{"prometheus/wireline.rules.yml", "grafana/wireline.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := used.FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s uses %d metrics", file, len(found))
		}
		for _, name := range found {
			if !names[name] {
				t.Errorf("%s uses %s, which does not exist", file, name)
			}
		}
	}
}

// The dashboard is JSON, and its panels do not overlap.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("grafana/wireline.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%s overlaps %s, or the edge", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
	}
}

// promtool accepts the rules, and finds that those about hubs do what their tests say.
func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	switch {
	case err == nil:
	case os.Getenv("WIRELINE_TEST_INTEROP") == "required":
		t.Fatal("promtool (package prometheus) is not installed, and WIRELINE_TEST_INTEROP=required")
	default:
		t.Skip("promtool (package prometheus) is not installed")
	}
	out, err := exec.Command(promtool, "check", "rules", "prometheus/wireline.rules.yml").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SUCCESS: 12 rules found") {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	out, err = exec.Command(promtool, "test", "rules", "prometheus/wireline.rules_test.yml").CombinedOutput()
	if err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
