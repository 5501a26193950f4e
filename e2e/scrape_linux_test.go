package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"wireline/internal/testutil"

	"golang.org/x/sys/unix"
)

// A scrape with 15,000 connections takes less than 50 ms of CPU: 10 times as much fails.
func TestScrapeTakesLittleCPU(t *testing.T) {
	testutil.Long(t)
	clients, scrapes := 15_000, 21
	if testutil.Reduced() {
		clients = 2000
	}
	needDescriptors(t, uint64(clients)+200) // of this process, and as many of the other
	a := startAdministered(t, "--log.connections=false")
	crowd(t, a.addr, clients, "hello\n", "hello\n")
	if got := a.metrics()[`wireline_connections{service="default"}`]; got != float64(clients) {
		t.Fatalf("%v connections, want %d", got, clients)
	}
	const most = 500 * time.Millisecond
	for _, path := range []string{"/metrics", "/api/services", "/api/connections?sort=-rate&limit=1000"} {
		var each []time.Duration
		for range scrapes {
			before := a.cpuClock()
			if status, body := a.get(path); status != http.StatusOK {
				t.Fatalf("GET %s: %d %s", path, status, body)
			}
			each = append(each, a.cpuClock()-before)
		}
		slices.Sort(each)
		t.Logf("GET %s with %d connections: %v of CPU, median of %d; from %v to %v", path, clients, each[scrapes/2], scrapes, each[0], each[scrapes-1])
		if each[scrapes/2] > most {
			t.Errorf("GET %s takes %v of CPU, want less than %v", path, each[scrapes/2], most)
		}
	}
}

// cpuClock returns the CPU time of the process, of all of its threads, in nanoseconds. The
// number of its clock is made as in clock_getcpuclockid(3).
func (p *process) cpuClock() time.Duration {
	p.t.Helper()
	const scheduled = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|scheduled), &t); err != nil {
		p.t.Fatal(err)
	}
	return time.Duration(t.Nano())
}
