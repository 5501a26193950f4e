//go:build unix

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"

	"github.com/google/go-cmp/cmp"
)

func TestStopSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			if signal.Ignored(sig) {
				t.Skip("the tests run with this signal ignored, and so would the program")
			}
			p := start(t)
			conn := p.dial()
			echoes(t, conn, "hello\n")
			p.signal(sig)
			receiveRest(t, conn, "")
			if code := p.wait(); code != exitOK {
				t.Errorf("exit code %d, want %d", code, exitOK)
			}
			checkLog(t, p.log(), []entry{
				{"level": "INFO", "msg": "listening", "addr": p.addr},
				{"level": "INFO", "msg": "draining", "signal": sig.String(), "clients": "1", "grace_s": "0", "timeout_s": "8"},
				{"level": "INFO", "msg": "connection", "id": "1", "peer": conn.LocalAddr().String(),
					"bytes_in": "6", "bytes_out": "6", "frames_in": "1", "frames_out": "1", "by": "server", "reason": "drain"},
				{"level": "INFO", "msg": "drained", "idle": "1", "finished": "0", "cut": "0"},
			})
			if s := p.stdout.String(); s != "" {
				t.Errorf("%q on the standard output, want nothing", s)
			}
		})
	}
}

// checkLog compares the lines of a log, except for their times.
func checkLog(t *testing.T, log, want []entry) {
	t.Helper()
	for i, e := range log {
		if _, err := time.Parse(time.RFC3339Nano, e["time"]); err != nil {
			t.Errorf("line %d: %v", i+1, err)
		}
		for _, key := range []string{"took_s", "duration_s"} {
			if s, there := e[key]; there {
				if d, err := strconv.ParseFloat(s, 64); err != nil || d < 0 || d > patience.Seconds() {
					t.Errorf("line %d: %s=%s, %v", i+1, key, s, err)
				}
			}
		}
		maps.DeleteFunc(e, func(key, _ string) bool { return key == "time" || key == "took_s" || key == "duration_s" })
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// nohup(1) starts programs with SIGHUP ignored, and they must leave it ignored.
func TestHangupIgnored(t *testing.T) {
	t.Parallel()
	p := startCommand(t, "sh", "-c", `trap "" HUP; exec wireline --tcp.address=127.0.0.1:0`)
	conn := p.dial()
	p.signal(syscall.SIGHUP)
	echoes(t, conn, "hello\n")
	p.stop()
	if log := p.find("msg", "draining"); len(log) != 1 || log[0]["signal"] != "terminated" {
		t.Errorf("log %v, want one line msg=draining for SIGTERM", log)
	}
}

// The reply in progress when the signal arrives is sent in full.
func TestDrainFinishesReply(t *testing.T) {
	t.Parallel()
	p := start(t, "--echo.max_line=8MiB")
	idle, busy := p.dial(), p.stall()
	echoes(t, idle, "hello\n")
	p.signal(syscall.SIGTERM)
	receiveRest(t, idle, "")
	receiveRest(t, busy, strings.Repeat("x", longReply-2)+"\n")
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	wantDrained(t, p, entry{"level": "INFO", "idle": "1", "finished": "1", "cut": "0"})
}

// A client that does not read its reply is reset when the drain timeout expires.
func TestDrainTimeout(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	p := start(t, "--echo.max_line=8MiB", "--tcp.drain_timeout=1s")
	idle, busy := p.dial(), p.stall()
	echoes(t, idle, "hello\n")
	p.signal(syscall.SIGTERM)
	receiveRest(t, idle, "")
	if code := p.wait(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	wantReset(t, busy)
	wantDrained(t, p, entry{"level": "WARN", "idle": "1", "finished": "0", "cut": "1",
		"err": "clients were cut: 1 of 2: drain timeout"})
	if took, _ := strconv.ParseFloat(p.find("msg", "drained")[0]["took_s"], 64); took < 1 {
		t.Errorf("took %v seconds, want at least the timeout", took)
	}
}

// tcp.drain_timeout=0s resets the connections at once.
func TestNoDrain(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	p := start(t, "--echo.max_line=8MiB", "--tcp.drain_timeout=0s")
	busy := p.stall()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	wantReset(t, busy)
}

func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, during string }{
		{"drain", "--tcp.drain_timeout=10m"},
		{"grace", "--tcp.grace_delay=10m"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "--echo.max_line=8MiB", test.during)
			busy := p.stall()
			p.signal(syscall.SIGTERM)
			p.await("msg", "draining")
			p.signal(syscall.SIGINT) // any other stop signal counts as the second
			if code := p.wait(); code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			wantReset(t, busy)
			wantDrained(t, p, entry{"level": "WARN", "idle": "0", "finished": "0", "cut": "1",
				"err": "clients were cut: 1 of 1: second signal"})
		})
	}
}

// During the grace delay everything goes on as before, also for new connections.
func TestGraceDelay(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	p := start(t, "--tcp.grace_delay=1s")
	before := p.dial()
	echoes(t, before, "one\n")
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	p.await("msg", "draining")
	during := p.dial()
	echoes(t, during, "two\n")
	echoes(t, before, "three\n")
	receiveRest(t, before, "")
	receiveRest(t, during, "")
	if took := time.Since(begin); took < time.Second {
		t.Errorf("the drain began after %v, want the grace delay first", took)
	}
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	wantDrained(t, p, entry{"level": "INFO", "idle": "2", "finished": "0", "cut": "0"})
}

// wantDrained checks that the log ends with that line.
func wantDrained(t *testing.T, p *process, want entry) {
	t.Helper()
	var last []entry
	for _, e := range p.log() {
		if e["msg"] != "" { // the program's last message is not part of the log
			last = []entry{e}
		}
	}
	want["msg"] = "drained"
	checkLog(t, last, []entry{want})
}

// wantReset checks that a client's connection was reset: its reply is incomplete, and the
// client must not take it for complete.
func wantReset(t *testing.T, conn io.Reader) {
	t.Helper()
	if n, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d bytes, %v; want a reset", n, err)
	}
}

func TestJSONLog(t *testing.T) {
	t.Parallel()
	p := start(t, "--log.format=json", "--log.level=debug")
	echoes(t, p.dial(), "hello\n")
	p.signal(os.Interrupt)
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	var messages []string
	for line := range strings.Lines(p.stderr.String()) {
		var e struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Time == "" || e.Level == "" {
			t.Errorf("%s is no line of JSON with time and level: %v", line, err)
		}
		messages = append(messages, e.Msg)
	}
	if diff := cmp.Diff([]string{"listening", "draining", "connection", "drained"}, messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}
