package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"wireline/internal/testutil"

	"github.com/google/go-cmp/cmp"
)

// The script for the captures in docs/closing.md still works: each capture is complete, and
// shows the same number of FINs and resets as the document.
func TestCaptureOfCloses(t *testing.T) {
	testutil.Long(t)
	for _, tool := range []tool{goTool, {name: "bash", pkg: "bash"}, {name: "tcpdump", pkg: "tcpdump"}, {name: "ss", pkg: "iproute2"}} {
		need(t, tool)
	}
	out := runCapture(t)
	want := []string{"2 FIN, 0 RST, TIME-WAIT", "0 FIN, 1 RST, none", "0 FIN, 1 RST, none", "2 FIN, 0 RST, TIME-WAIT"}
	if diff := cmp.Diff(want, capturedEnds(out)); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, out)
	}
}

// runCapture runs the script on free ports and returns its output.
func runCapture(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	script := exec.CommandContext(ctx, "../docs/capture/close.sh", strconv.Itoa(freePorts(t, 4)))
	out, err := script.CombinedOutput()
	if err == nil {
		return string(out)
	}
	for _, denied := range []string{"permission", "not permitted"} {
		if strings.Contains(string(out), denied) {
			t.Skipf("tcpdump needs more privileges: %s", out)
		}
	}
	t.Fatalf("%v: %s", err, out)
	return ""
}

// capturedEnds counts the FINs and resets of each capture, and adds the socket's final state.
func capturedEnds(out string) (ends []string) {
	fins, resets := 0, 0
	for line := range strings.Lines(out) {
		switch state, last := strings.CutPrefix(strings.TrimSpace(line), "ss: "); {
		case last:
			ends = append(ends, fmt.Sprintf("%d FIN, %d RST, %s", fins, resets, state))
			fins, resets = 0, 0
		case strings.Contains(line, "Flags [F"):
			fins++
		case strings.Contains(line, "Flags [R"):
			resets++
		}
	}
	return ends
}
