package main

import (
	"bufio"
	"io"
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
	if err != nil {
		missing(t, name, pkg)
	}
	return path
}

func missing(t *testing.T, name, pkg string) {
	t.Helper()
	const text = "no %s of the Debian package %s here"
	if os.Getenv("WIRELINE_TEST_INTEROP") == "required" {
		t.Fatalf(text+", and WIRELINE_TEST_INTEROP=required", name, pkg)
	}
	t.Skipf(text, name, pkg)
}

// program is the built program, running.
type program struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd

	mu     sync.Mutex
	stderr strings.Builder
	read   chan struct{} // closed at the end of stderr
}

// startProgram builds the program and starts it with flags on a free port.
func startProgram(t *testing.T, flags ...string) *program {
	t.Helper()
	p := &program{t: t, read: make(chan struct{})}
	p.cmd = exec.Command(build(t), append([]string{"-addr", "127.0.0.1:0"}, flags...)...)
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

// built is where the tests build the program.
var built struct {
	dir string // TestMain removes it
	sync.Once
}

// build builds the program, once, and returns its path.
func build(t *testing.T) string {
	t.Helper()
	goTool := need(t, "go", "golang-go")
	path := filepath.Join(built.dir, "smtpd")
	built.Do(func() {
		if out, err := exec.Command(goTool, "build", "-o", path, ".").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	})
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

// stored returns the messages in a Maildir.
func stored(t *testing.T, dir string) (messages []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(text))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("left in tmp: %q", left)
	}
	return messages
}
