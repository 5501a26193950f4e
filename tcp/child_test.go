package tcp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/tcp"
)

// What signals and limits do to a process is tested in a child: the test binary
// once more, with childEnv set. It logs to its standard output in JSON, and
// holds the lines "hold" until its standard input ends.

const childEnv = "WIRELINE_TEST_CHILD"

// childSpec says what a child does.
type childSpec struct {
	Server string // "wireline" or "naive"

	Network, Address         string
	DrainTimeout, GraceDelay time.Duration

	MaxFiles uint64 // the limit for open files; zero leaves it

	// For "group": the servers' names, and what a SIGHUP does: "add" adds a server
	// "added", "hang" waits for ever. Empty stops.
	Services []string
	Reload   string
}

// The exit codes of a child.
const (
	exitClean  = 0
	exitCut    = 3
	exitFailed = 4
	exitOrphan = 5 // it was not stopped for too long
)

// childMain is the main of a child.
func childMain(text string) (code int) {
	time.AfterFunc(time.Minute, func() { os.Exit(exitOrphan) })
	log := logger.Async(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	defer logger.Flush(patience)
	var spec childSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		log.Error("spec", "err", err)
		return exitFailed
	}
	if spec.MaxFiles > 0 {
		if err := limitFiles(spec.MaxFiles); err != nil {
			log.Error("limit", "err", err)
			return exitFailed
		}
	}
	err := childServe(spec, log)
	switch {
	case err == nil:
		return exitClean
	case errors.Is(err, tcp.ErrCut):
		code = exitCut
	default:
		code = exitFailed
	}
	log.Error("failed", "err", err.Error())
	return code
}

func childServe(spec childSpec, log *slog.Logger) error {
	released := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(released)
	}()
	work := func(line string) {
		switch line {
		case "hold":
			log.Info("holding")
			<-released
		case "panic":
			panic("as asked")
		}
	}
	if spec.Server == "naive" {
		ln, err := net.Listen("tcp", spec.Address)
		if err != nil {
			return err
		}
		log.Info("listening", "addr", ln.Addr().String())
		newNaive(ln, options{work: work, drainTimeout: spec.DrainTimeout}).serveUntilSignal()
		return nil
	}
	cfg := tcp.Config{
		Network: spec.Network, Address: spec.Address,
		DrainTimeout: spec.DrainTimeout, GraceDelay: spec.GraceDelay,
		Log: log,
	}
	if spec.Server != "group" {
		return tcp.ListenAndServe(&cfg, echoAfter(work))
	}
	var g tcp.Group
	for _, name := range spec.Services {
		g.Add(&tcp.Server{Name: name, Config: cfg, Handler: echoAfter(work)})
		cfg.GraceDelay = 0 // the first one's is the longest
	}
	switch spec.Reload {
	case "add":
		g.OnReload = func() {
			log.Info("reloading")
			if err := g.Add(&tcp.Server{Name: "added", Config: cfg, Handler: echoAfter(work)}); err != nil {
				log.Error("no reload", "err", err.Error())
			}
		}
	case "hang":
		g.OnReload = func() {
			log.Info("reloading")
			select {}
		}
	}
	return g.Run(context.Background())
}

// child is a child process as its parent sees it.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer

	stderr bytes.Buffer // to be read when exited is closed
	exited chan struct{}

	mu   sync.Mutex
	log  []map[string]any
	more chan struct{} // closed at the next line of the log, or its end
	end  bool
}

// startChild starts a child, by the command words before its own name if there
// are any. It is gone at the test's end.
func startChild(t *testing.T, spec childSpec, before ...string) *child {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no signals on Windows")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if spec.Address == "" {
		spec.Address = "127.0.0.1:0"
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	command := append(before, exe)
	c := &child{t: t, cmd: exec.Command(command[0], command[1:]...)}
	c.exited, c.more = make(chan struct{}), make(chan struct{})
	// Under the race detector a process sleeps for a second before it exits.
	race := "GORACE=" + os.Getenv("GORACE") + " atexit_sleep_ms=0"
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text), race)
	c.cmd.Stderr = &c.stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.follow(stdout)
	t.Cleanup(func() {
		c.release()
		c.cmd.Process.Kill()
		<-c.exited
	})
	return c
}

// follow reads the child's log and waits for its end.
func (c *child) follow(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		record := map[string]any{}
		if json.Unmarshal(lines.Bytes(), &record) == nil {
			c.noteLog(record)
		}
	}
	c.cmd.Wait()
	c.noteLog(nil)
	close(c.exited)
}

func (c *child) noteLog(record map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if record == nil {
		c.end = true
	} else {
		c.log = append(c.log, record)
	}
	close(c.more)
	c.more = make(chan struct{})
}

// find returns the records of msg so far.
func (c *child) find(msg string) (found []map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, record := range c.log {
		if record["msg"] == msg {
			found = append(found, record)
		}
	}
	return found
}

// wait waits for the first record of msg and returns it.
func (c *child) wait(msg string) map[string]any {
	c.t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		more, end := c.more, c.end
		c.mu.Unlock()
		if found := c.find(msg); len(found) > 0 {
			return found[0]
		}
		if end {
			c.t.Fatalf("the child ended (%v) without %q in its log\n%s", c.cmd.ProcessState, msg, c.stderr.Bytes())
		}
		select {
		case <-more:
		case <-timeout:
			c.t.Fatalf("the child does not log %q", msg)
		}
	}
}

// dial connects to the child's server.
func (c *child) dial() net.Conn {
	c.t.Helper()
	addr := c.wait("listening")["addr"].(string)
	network := "tcp"
	if _, _, err := net.SplitHostPort(addr); err != nil {
		network = "unix"
	}
	return dial(c.t, network, addr)
}

// dialService connects to one of a group's servers.
func (c *child) dialService(name string) net.Conn {
	c.t.Helper()
	c.wait("listening")
	var addr string
	testutil.Eventually(c.t, "the service "+name, func() bool {
		for _, record := range c.find("listening") {
			if record["service"] == name {
				addr = record["addr"].(string)
			}
		}
		return addr != ""
	})
	return testutil.Dial(c.t, "tcp", addr)
}

// release opens the child's gate.
func (c *child) release() { c.stdin.Close() }

func (c *child) signal(sig os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// exitCode waits for the child's end.
func (c *child) exitCode() int {
	c.t.Helper()
	testutil.Await(c.t, "the child's end", c.exited)
	return c.cmd.ProcessState.ExitCode()
}
