//go:build unix

package e2e

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// logEnds are ways in which the standard error may be useless. Each returns what the program
// gets, and what to call when the program listens.
var logEnds = map[string]func(t *testing.T) (stderr *os.File, listening func()){
	"never read": func(t *testing.T) (*os.File, func()) {
		_, w := newPipe(t)
		return w, func() {}
	},
	"a FIFO that is never read": func(t *testing.T) (*os.File, func()) {
		path := filepath.Join(t.TempDir(), "log")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		return openFile(t, path, os.O_RDWR), func() {} // it is its own reader
	},
	"head -1": func(t *testing.T) (*os.File, func()) {
		r, w := newPipe(t)
		return w, func() {
			if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || !strings.Contains(line, "listening") {
				t.Errorf("the first line is %q, %v", line, err)
			}
			r.Close()
		}
	},
	"no reader from the start": func(t *testing.T) (*os.File, func()) {
		r, w := newPipe(t)
		r.Close()
		return w, func() {}
	},
	"/dev/full": func(t *testing.T) (*os.File, func()) {
		if _, err := os.Stat("/dev/full"); err != nil {
			t.Skip(err)
		}
		return openFile(t, "/dev/full", os.O_WRONLY), func() {}
	},
	"closed": func(*testing.T) (*os.File, func()) { return nil, func() {} },
}

func newPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func openFile(t *testing.T, path string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// startMute starts wireline on a unix socket, with stderr as its standard error, closed if
// that is nil, and waits until it serves.
func startMute(t *testing.T, stderr *os.File, args ...string) *process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	args = append([]string{"--tcp.network=unix", "--tcp.address=" + path}, args...)
	cmd := exec.Command("wireline", args...)
	if stderr == nil {
		cmd = exec.Command("sh", append([]string{"-c", `exec wireline "$@" 2>&-`, "sh"}, args...)...)
	} else {
		cmd.Stderr = stderr
	}
	p := &process{t: t, cmd: cmd, exited: make(chan struct{}), network: "unix", addr: path}
	cmd.Env, cmd.Stdout = environment(), &p.stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.exited
	})
	testutil.Eventually(t, "the server", func() bool {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
		}
		return err == nil || p.ended()
	})
	return p
}

// visits makes that many connections, each with a line.
func (p *process) visits(n int) {
	p.t.Helper()
	for range n {
		conn, err := net.Dial(p.network, p.addr)
		if err != nil {
			p.t.Fatal(err)
		}
		echoes(p.t, conn, "hello\n")
		conn.Close()
	}
}

// Whatever becomes of its log, the program serves, stops and exits as always.
func TestUselessLog(t *testing.T) {
	t.Parallel()
	for name, end := range logEnds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stderr, listening := end(t)
			p := startMute(t, stderr, "--echo.max_line=8MiB")
			listening()
			idle, busy := p.dial(), p.stall()
			p.visits(1000)
			p.signal(syscall.SIGTERM)
			receiveRest(t, idle, "")
			receiveRest(t, busy, strings.Repeat("x", longReply-2)+"\n")
			if code := p.wait(); code != exitOK {
				t.Errorf("exit code %d, want %d", code, exitOK)
			}
		})
		t.Run(name+", cut", func(t *testing.T) {
			t.Parallel()
			stderr, listening := end(t)
			p := startMute(t, stderr, "--echo.max_line=8MiB", "--tcp.drain_timeout=1h")
			listening()
			idle, busy := p.dial(), p.stall()
			p.visits(100)
			p.signal(syscall.SIGTERM)
			receiveRest(t, idle, "")
			p.signal(syscall.SIGINT)
			if code := p.wait(); code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			if n, _ := io.Copy(io.Discard, busy); n >= longReply-1 { // a unix socket has no RST
				t.Error("the busy client was not cut")
			}
		})
	}
}

// A limit that makes clients wait works without the log, too.
func TestUselessLogWithLimit(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	_, w := newPipe(t)
	p := startMute(t, w, "--tcp.max_clients=2", "--log.level=debug")
	p.visits(1000)
	p.stop()
}

// Errors have their exit code if nobody reads the standard error.
func TestUselessLogAtStart(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	_, w := newPipe(t)
	fillPipe(t, w)
	for _, args := range []string{"--tcp.max_clients=-1", "--tcp.address=192.0.2.1:1"} {
		cmd := exec.Command("wireline", args)
		cmd.Env, cmd.Stderr = environment(), w
		ended := make(chan error, 1)
		go func() { ended <- cmd.Run() }()
		select {
		case <-ended:
			if code := cmd.ProcessState.ExitCode(); code != exitUsage {
				t.Errorf("%s: exit code %d, want %d", args, code, exitUsage)
			}
		case <-time.After(patience):
			cmd.Process.Kill()
			t.Errorf("%s: does not exit", args)
		}
	}
}

// fillPipe writes until w takes no more.
func fillPipe(t *testing.T, w *os.File) {
	t.Helper()
	w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for err := error(nil); err == nil; {
		_, err = w.Write(make([]byte, 4<<10))
	}
	w.SetWriteDeadline(time.Time{})
}

// What nobody has read for a while is all there, in order, once somebody does.
func TestLogReadLater(t *testing.T) {
	t.Parallel()
	r, w := newPipe(t)
	p := startMute(t, w)
	p.visits(1000)
	w.Close() // the test's
	p.signal(syscall.SIGTERM)
	log, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for line := range strings.Lines(string(log)) {
		if e := parseEntry(line); e["msg"] == "connection" && e["bytes_in"] == "6" {
			served++
		}
	}
	if served != 1000 {
		t.Errorf("%d records of 1000", served)
	}
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
