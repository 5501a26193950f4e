//go:build unix

package tcp_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/field"
	"wireline/lib/frame"
	"wireline/tcp"
)

// The life of a whole process, each time one of its own.

var stopSignals = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP}

func TestSignalsDrain(t *testing.T) {
	t.Parallel()
	for _, sig := range stopSignals {
		t.Run(sig.String(), func(t *testing.T) {
			needSignal(t, sig)
			c := startChild(t, childSpec{Server: "wireline", DrainTimeout: patience})
			idle, other, busy := c.dial(), c.dial(), c.dial()
			exchange(t, idle, "a\n")
			exchange(t, other, "a\n")
			send(t, busy, "hold\n")
			c.wait("holding")
			c.signal(sig)

			draining := c.wait("draining")
			demand(t, draining, "level", "INFO")
			demand(t, draining, "signal", sig.String())
			demand(t, draining, "clients", 3.0)
			demand(t, draining, "timeout_s", patience.Seconds())
			receiveAll(t, idle, "")
			receiveAll(t, other, "")
			c.release()
			receiveAll(t, busy, "hold\n")
			if code := c.exitCode(); code != exitClean {
				t.Errorf("exit code %d", code)
			}
			drained := c.wait("drained")
			demand(t, drained, "level", "INFO")
			demand(t, drained, "idle", 2.0)
			demand(t, drained, "finished", 1.0)
			demand(t, drained, "cut", 0.0)
			if took, ok := drained["took_s"].(float64); !ok || took <= 0 || took > patience.Seconds() {
				t.Errorf("took %v", drained["took_s"])
			}
			if err, there := drained["err"]; there {
				t.Errorf("a clean drain has the error %v", err)
			}
		})
	}
}

// needSignal skips the test where sig is ignored from the start, and so by
// every child.
func needSignal(t *testing.T, sig os.Signal) {
	t.Helper()
	if signal.Ignored(sig) {
		t.Skipf("the tests run with the signal %q ignored", sig)
	}
}

// demand looks at a field of a log record.
func demand(t *testing.T, record map[string]any, key string, want any) {
	t.Helper()
	if got := record[key]; got != want {
		t.Errorf("%v: %s is %v, want %v", record["msg"], key, got, want)
	}
}

func TestListeningIsLogged(t *testing.T) {
	c := startChild(t, childSpec{Server: "wireline"})
	listening := c.wait("listening")
	demand(t, listening, "level", "INFO")
	if addr := fmt.Sprint(listening["addr"]); !strings.HasPrefix(addr, "127.0.0.1:") || strings.HasSuffix(addr, ":0") {
		t.Errorf("listening at %s", addr)
	}
}

func TestSecondSignalCuts(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	tests := []struct {
		name  string
		grace time.Duration
	}{
		{"in the drain", 0},
		{"in the grace delay", time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := startChild(t, childSpec{Server: "wireline", DrainTimeout: time.Hour, GraceDelay: test.grace})
			busy := c.dial()
			send(t, busy, "hold\n")
			c.wait("holding")
			c.signal(syscall.SIGTERM)
			demand(t, c.wait("draining"), "grace_s", test.grace.Seconds())
			c.signal(syscall.SIGINT)
			receiveReset(t, busy)
			if code := c.exitCode(); code != exitCut {
				t.Errorf("exit code %d, want that of ErrCut", code)
			}
			drained := c.wait("drained")
			demand(t, drained, "level", "WARN")
			demand(t, drained, "cut", 1.0)
			demand(t, drained, "finished", 0.0)
			if err := fmt.Sprint(drained["err"]); !strings.Contains(err, "second signal") {
				t.Errorf("drained with %q", err)
			}
		})
	}
}

func TestDrainTimeoutCuts(t *testing.T) {
	t.Parallel()
	c := startChild(t, childSpec{Server: "wireline", DrainTimeout: 200 * time.Millisecond})
	idle, busy := c.dial(), c.dial()
	exchange(t, idle, "a\n")
	send(t, busy, "hold\n")
	c.wait("holding")
	c.signal(syscall.SIGTERM)
	receiveAll(t, idle, "")
	receiveReset(t, busy)
	if code := c.exitCode(); code != exitCut {
		t.Errorf("exit code %d, want that of ErrCut", code)
	}
	drained := c.wait("drained")
	demand(t, drained, "cut", 1.0)
	demand(t, drained, "idle", 1.0)
	if err := fmt.Sprint(drained["err"]); !strings.Contains(err, "drain timeout") {
		t.Errorf("drained with %q", err)
	}
}

// A second signal has nothing to cut where all clients are done.
func TestSecondSignalInTheGraceDelayWithoutClients(t *testing.T) {
	c := startChild(t, childSpec{Server: "wireline", GraceDelay: time.Hour})
	c.wait("listening")
	c.signal(syscall.SIGTERM)
	c.wait("draining")
	c.signal(syscall.SIGTERM)
	if code := c.exitCode(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
}

func TestGraceDelayStillAccepts(t *testing.T) {
	t.Parallel()
	const grace = 500 * time.Millisecond
	c := startChild(t, childSpec{Server: "wireline", DrainTimeout: patience, GraceDelay: grace})
	before := c.dial()
	exchange(t, before, "a\n")
	c.signal(syscall.SIGTERM)
	c.wait("draining")
	begin := time.Now()
	during := c.dial()
	exchange(t, during, "b\n")
	exchange(t, before, "a again\n")
	receiveAll(t, during, "")
	receiveAll(t, before, "")
	if took := time.Since(begin); took < grace/2 {
		t.Errorf("the drain began after %v, the delay is %v", took, grace)
	}
	if code := c.exitCode(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
	demand(t, c.wait("drained"), "idle", 2.0)
}

// Under nohup SIGHUP is ignored, and stays so.
func TestIgnoredHangup(t *testing.T) {
	c := startChild(t, childSpec{Server: "wireline", DrainTimeout: patience},
		"sh", "-c", `trap "" HUP; exec "$0"`)
	conn := c.dial()
	exchange(t, conn, "a\n")
	c.signal(syscall.SIGHUP)
	exchange(t, conn, "b\n")
	c.signal(syscall.SIGTERM)
	demand(t, c.wait("draining"), "signal", syscall.SIGTERM.String())
	receiveAll(t, conn, "")
	if code := c.exitCode(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
}

func TestUnixSocketOfAProcess(t *testing.T) {
	path := testutil.SocketPath(t)
	spec := childSpec{Server: "wireline", Network: "unix", Address: path}
	killed := startChild(t, spec)
	exchange(t, killed.dial(), "a\n")
	killed.signal(os.Kill)
	killed.exitCode()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, spec)
	exchange(t, c.dial(), "a\n")
	c.signal(syscall.SIGTERM)
	if code := c.exitCode(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file is left behind (%v)", err)
	}
}

func TestPortTaken(t *testing.T) {
	addr := listenTCP(t).Addr().String()
	err := tcp.ListenAndServe(&tcp.Config{Address: addr}, echo())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
		t.Errorf("port taken: %v", err)
	}
}

// A nil Config is the zero Config: port 8000 on every interface. This test sees
// to it that it cannot have it.
func TestNilConfig(t *testing.T) {
	ln, err := net.Listen("tcp", ":8000")
	if err != nil {
		t.Skip("another process has the port, and may close it: ", err)
	}
	defer ln.Close()
	err = tcp.ListenAndServe(nil, nil)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), ":8000") {
		t.Errorf("listen: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	tests := []struct {
		cfg    tcp.Config
		fields []string
	}{
		{tcp.Config{Network: "udp"}, []string{"Network"}},
		{tcp.Config{Network: "unix"}, []string{"Address"}},
		{tcp.Config{MaxClients: -1, MaxClientsPerIP: -1}, []string{"MaxClients", "MaxClientsPerIP"}},
		{tcp.Config{WhenFull: "panic", AcceptRate: -1, GraceDelay: -1}, []string{"WhenFull", "AcceptRate", "GraceDelay"}},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.fields, " "), func(t *testing.T) {
			err := tcp.ListenAndServe(&test.cfg, echo())
			var fieldErr *field.Error
			if !errors.As(err, &fieldErr) || fieldErr.Field != test.fields[0] {
				t.Errorf("%v, want a field.Error of %s", err, test.fields[0])
			}
			for _, name := range test.fields {
				if !strings.Contains(fmt.Sprint(err), name) {
					t.Errorf("%v does not name %s", err, name)
				}
			}
		})
	}
}

// The process says what it does in a handful of lines, and nothing else.
func TestLogIsShort(t *testing.T) {
	c := startChild(t, childSpec{Server: "wireline"})
	conn := c.dial()
	send(t, conn, "a\n")
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, conn)
	c.signal(syscall.SIGTERM)
	c.exitCode()
	c.mu.Lock()
	defer c.mu.Unlock()
	var messages []string
	for _, record := range c.log {
		messages = append(messages, fmt.Sprint(record["msg"]))
	}
	if got := strings.Join(messages, ", "); got != "listening, draining, drained" {
		t.Errorf("logged: %s", got)
	}
	if c.stderr.Len() > 0 {
		t.Errorf("standard error: %s", c.stderr.Bytes())
	}
}

func TestWrongCodecIsRefusedAtTheStart(t *testing.T) {
	h := &handler.Frames{Codec: frame.Delimiter{}}
	err := tcp.ListenAndServe(&tcp.Config{Address: "127.0.0.1:0"}, h)
	if !errors.Is(err, frame.ErrNoDelimiter) {
		t.Errorf("ListenAndServe returns %v", err)
	}
}
