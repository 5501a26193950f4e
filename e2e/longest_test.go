//go:build unix

package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"wireline/internal/testutil"
)

// longest is the largest duration.
const longest = "2562047h47m16.854775807s"

// With the largest duration in any key, clients are served, and SIGTERM ends the program.
func TestLongestDurations(t *testing.T) {
	testutil.Long(t)
	if testutil.RaceEnabled {
		t.Skip("about arithmetic, and starts the program for every key")
	}
	t.Parallel()
	upstream := newOrigin(t, "127.0.0.1:0", echoAll).ln.Addr().String()
	help, err := exec.Command("wireline", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`(?m)^  --(\S+) DURATION `).FindAllSubmatch(help, -1)
	if len(keys) < 20 {
		t.Fatalf("only %d keys of durations in\n%s", len(keys), help)
	}
	for _, found := range keys {
		key := string(found[1])
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			args := []string{"--" + key + "=" + longest}
			if exec.Command("wireline", "--check", args[0]).Run() != nil {
				t.Skip("it is refused")
			}
			if strings.HasPrefix(key, "proxy.") {
				args = append(args, "--handler=proxy", "--proxy.upstreams="+upstream)
			}
			if strings.HasPrefix(key, "proxy.drain_") { // what does not become quiet is cut
				args = append(args, "--tcp.drain_timeout=300ms")
			}
			p := start(t, args...)
			conn := p.dial()
			echoes(t, conn, "hello\n")
			echoes(t, conn, "again\n")
			p.signal(syscall.SIGTERM)
			if key == "tcp.grace_delay" {
				p.await("msg", "draining")
				p.signal(syscall.SIGTERM)
			}
			if code := p.wait(); code != exitOK && code != exitFailed {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
