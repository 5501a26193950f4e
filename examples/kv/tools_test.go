package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience limits how long a test waits.
const patience = 30 * time.Second

// need returns the path of a program, or skips the test if it is missing. If the environment
// says that all tools must exist, as on a machine that is set up for the tests, it fails the
// test.
func need(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	const missing = "no %s of the Debian package %s here"
	switch {
	case err == nil:
	case os.Getenv("WIRELINE_TEST_INTEROP") == "required":
		t.Fatalf(missing+", and WIRELINE_TEST_INTEROP=required", name, pkg)
	default:
		t.Skipf(missing, name, pkg)
	}
	return path
}

// startRedis starts a redis-server with one empty database, and returns the path of its
// socket.
func startRedis(t *testing.T) string {
	redis := need(t, "redis-server", "redis-server")
	dir := t.TempDir()
	path := filepath.Join(dir, "redis")
	cmd := exec.Command(redis, "--port", "0", "--unixsocket", path, "--databases", "1",
		"--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return path
		}
	}
	t.Fatal("redis-server does not listen")
	return ""
}

// program is the built program, running.
type program struct {
	t    *testing.T
	path string
	addr string
	cmd  *exec.Cmd

	mu     sync.Mutex
	stderr strings.Builder
	read   chan struct{} // closed at the end of stderr
}

// startProgram builds the program and starts it with flags on a free port.
func startProgram(t *testing.T, flags ...string) *program {
	t.Helper()
	p := &program{t: t, path: build(t), read: make(chan struct{})}
	p.cmd = exec.Command(p.path, append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	addr := make(chan string, 1)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.watch(stderr, addr)
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.read
		p.cmd.Wait()
	})
	select {
	case p.addr = <-addr:
	case <-time.After(patience):
		t.Fatalf("not listening; it printed %q", p.said())
	}
	return p
}

// build builds the program and returns its path.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kv")
	goTool := need(t, "go", "golang-go")
	if out, err := exec.Command(goTool, "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// watch keeps the program's output, and finds its address in it.
func (p *program) watch(stderr io.Reader, addr chan<- string) {
	defer close(p.read)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		line := lines.Text()
		p.mu.Lock()
		p.stderr.WriteString(line + "\n")
		p.mu.Unlock()
		if _, found, ok := strings.Cut(line, "msg=listening addr="); ok {
			addr <- found
		}
	}
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// stop stops the program cleanly, and returns its output.
func (p *program) stop() string {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.read:
	case <-time.After(patience):
		p.t.Fatalf("it does not stop; it printed %q", p.said())
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v; it printed %q", err, p.said())
	}
	return p.said()
}
