//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/tcptest"
)

// process is a server process.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdout  output
	stderr  output
	exited  chan struct{}
	network string
	addr    string // where it listens
}

// start starts wireline on a free port and waits until it listens. The last of several equal
// flags counts, so args can override the defaults.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startCommand(t, "wireline", append([]string{"--tcp.address=127.0.0.1:0"}, args...)...)
}

// startUnix is start on a unix socket.
func startUnix(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := start(t, append([]string{"--tcp.network=unix", "--tcp.address=" + path}, args...)...)
	p.network = "unix"
	return p
}

// startCommand starts any server that logs the line "listening".
func startCommand(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := launch(t, name, args...)
	p.addr = p.await("msg", "listening")["addr"]
	return p
}

// launch starts a command. At the end of the test it kills the process if it still runs, and
// shows its output if the test has failed.
func launch(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return launchWith(t, nil, name, args...)
}

func launchWith(t *testing.T, stdin *os.File, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), exited: make(chan struct{}), network: "tcp"}
	p.cmd.Env = environment()
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // wait checks the result
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", strings.Join(p.cmd.Args, " "), p.stderr.String())
		}
	})
	return p
}

// environment returns the environment of the tests without wireline's variables. The race
// detector's sleep of a second before the exit would spoil the timings.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WIRELINE_") })
	return append(env, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits until the process ends and returns its exit code, -1 if a signal killed it.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("the process did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop stops the process and checks that it ends cleanly.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitOK {
		p.t.Errorf("exit code %d, want %d", code, exitOK)
	}
}

// kill ends the process at once.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// log returns the lines of the log.
func (p *process) log() []entry {
	var log []entry
	for line := range strings.Lines(p.stderr.String()) {
		log = append(log, parseEntry(line))
	}
	return log
}

// find returns the lines of the log that have this attribute.
func (p *process) find(key, value string) []entry {
	return slices.DeleteFunc(p.log(), func(e entry) bool { return e[key] != value })
}

// await waits for the first line of the log that has this attribute.
func (p *process) await(key, value string) entry {
	p.t.Helper()
	late := time.After(patience)
	for {
		more, ended := p.stderr.more(), p.ended()
		if found := p.find(key, value); len(found) > 0 {
			return found[0]
		}
		if ended {
			p.t.Fatalf("the process has ended without a line with %s=%s", key, value)
		}
		select {
		case <-more:
		case <-p.exited:
		case <-late:
			p.t.Fatalf("no line has %s=%s", key, value)
		}
	}
}

// awaitOutput waits until the process has printed s.
func (p *process) awaitOutput(s string) {
	p.t.Helper()
	p.awaitIn(&p.stdout, s, 1)
}

// awaitIn waits until out, an output of the process, contains s that many times.
func (p *process) awaitIn(out *output, s string, times int) {
	p.t.Helper()
	late := time.After(patience)
	for {
		more, ended := out.more(), p.ended()
		n := strings.Count(out.String(), s)
		if n >= times {
			return
		}
		if ended {
			p.t.Fatalf("the process has ended, and printed %q %d times, want %d", s, n, times)
		}
		select {
		case <-more:
		case <-p.exited:
		case <-late:
			p.t.Fatalf("printed %s with %q %d times, want %d", abridged(out.String()), s, n, times)
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// dial connects to the server. The connection is closed at the end of the test.
func (p *process) dial() net.Conn {
	p.t.Helper()
	return testutil.Dial(p.t, p.network, p.addr)
}

// longReply is more than the buffers of a connection hold: Linux gives the sender's up to 4
// MiB, and lets the receiver's grow only while it is read. A server needs --echo.max_line=8MiB
// for it.
const longReply = 8 << 20

// stall returns a client that has sent a long line and reads only the first byte of the reply,
// so that the server is still sending it.
func (p *process) stall() net.Conn {
	p.t.Helper()
	conn := p.dial()
	if err := tryStallClient(conn); err != nil {
		p.t.Fatal(err)
	}
	return conn
}

// tryStallClient makes conn a client as stall returns it.
func tryStallClient(conn net.Conn) error {
	if _, err := io.WriteString(conn, strings.Repeat("x", longReply-1)+"\n"); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// Helpers that most tests use.
var (
	send        = tcptest.Send
	receive     = tcptest.Receive
	receiveRest = tcptest.ReceiveAll
	closeWrite  = tcptest.CloseWrite
	freePort    = testutil.FreePort // for a program that cannot report the port that it was given
)

const patience = testutil.Patience

// echoes checks that the server answers.
func echoes(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	send(t, conn, line)
	receive(t, conn, line)
}

// tryEcho is echoes that returns an error. The client sends begin first.
func tryEcho(conn net.Conn, begin string) error {
	if _, err := io.WriteString(conn, begin+"hello\n"); err != nil {
		return err
	}
	got := make([]byte, 6)
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != "hello\n" {
		return fmt.Errorf("received %q, %w", got[:n], err)
	}
	return nil
}

// skipShort skips a test that loads the machine for seconds.
func skipShort(t *testing.T) {
	t.Helper()
	if testutil.Reduced() {
		t.Skip("takes a few seconds")
	}
}

// abridged shortens s for a message.
func abridged(s string) string {
	if len(s) <= 200 {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:200], len(s))
}

// output collects the output of a process, for others to read and wait on.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	waiting chan struct{} // closed at the next write; nil if no goroutine waits
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting != nil {
		close(o.waiting)
		o.waiting = nil
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// more returns a channel that is closed when more is written.
func (o *output) more() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = make(chan struct{})
	}
	return o.waiting
}

// entry is a log line, in either format, with its attributes as text.
type entry map[string]string

var attribute = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|\S*)`)

func parseEntry(line string) entry {
	e := entry{}
	if strings.HasPrefix(line, "{") {
		var values map[string]json.RawMessage
		if json.Unmarshal([]byte(line), &values) != nil {
			return e // not completely written yet
		}
		for key, value := range values {
			e[key] = unquote(string(value))
		}
		return e
	}
	for _, found := range attribute.FindAllStringSubmatch(line, -1) {
		e[found[1]] = unquote(found[2])
	}
	return e
}

// unquote removes the quotes, if there are any.
func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}
