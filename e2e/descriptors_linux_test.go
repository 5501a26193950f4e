package e2e

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Out of file descriptors, a server neither ends nor spins: it waits until one
// comes free, and goes on then.
func TestOutOfDescriptors(t *testing.T) {
	skipShort(t)
	const clients, descriptors = 200, 64
	const interval = 3 * time.Second
	p := start(t, "--log.connections=false")
	limit := unix.Rlimit{Cur: descriptors, Max: descriptors} // as under prlimit --nofile=64
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	queue := newQueue(t, p.addr, clients)
	p.await("msg", "accept failed, trying again")

	t.Run("processor", func(t *testing.T) {
		before := p.cpu()
		time.Sleep(interval) // this is what is measured
		if used := p.cpu() - before; used >= 300*time.Millisecond {
			t.Errorf("used %v of the processor in %v, want less than 300ms", used, interval)
		}
	})
	t.Run("accept4", func(t *testing.T) {
		calls := p.countCalls(t, "accept4", interval)
		t.Logf("%d accept4 calls in %v", calls, interval)
		if most := 20 * int(interval/time.Second); calls >= most {
			t.Errorf("%d accept4 calls in %v, want less than %d", calls, interval, most)
		}
		if calls == 0 {
			t.Error("no accept4 call: how is it to notice that it can go on?")
		}
	})
	if lines := p.find("msg", "accept failed, trying again"); len(lines) != 1 {
		t.Errorf("%d lines in the log, want one:\n%v", len(lines), lines)
	}

	served := queue.closeServed()
	if served < descriptors/2 || served >= descriptors {
		t.Errorf("%d clients served with %d descriptors", served, descriptors)
	}
	for ; served < clients; served++ {
		queue.closeNext()
	}
	p.stop()
}

// queue is clients of which a server serves some and lets the others wait.
type queue struct {
	t      *testing.T
	served chan net.Conn // have their answer
}

// newQueue connects clients, each with a line to be answered.
func newQueue(t *testing.T, addr string, clients int) *queue {
	t.Helper()
	q := &queue{t: t, served: make(chan net.Conn, clients)}
	var readers sync.WaitGroup
	t.Cleanup(readers.Wait)
	for range clients {
		conn, err := net.DialTimeout("tcp", addr, patience) // the kernel sees to that
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		send(t, conn, "hello\n")
		readers.Go(func() {
			if answer := make([]byte, 6); readsFull(conn, answer) && string(answer) == "hello\n" {
				q.served <- conn
			}
		})
	}
	return q
}

// closeServed closes all clients that are served now and returns how many.
func (q *queue) closeServed() (n int) {
	for {
		select {
		case conn := <-q.served:
			conn.Close()
			n++
		default:
			return n
		}
	}
}

// closeNext waits for one to be served and closes it.
func (q *queue) closeNext() {
	q.t.Helper()
	select {
	case conn := <-q.served:
		conn.Close()
	case <-time.After(patience):
		q.t.Fatal("a client is not served, though there are descriptors again")
	}
}

// countCalls counts the system calls of that name which a process makes in a
// time.
func (p *process) countCalls(t *testing.T, name string, interval time.Duration) int {
	t.Helper()
	summary := p.strace(t, func() { time.Sleep(interval) }, "-c", "-e", "trace="+name) // the time is what is measured
	return callsIn(t, summary, name)
}

// strace looks at the system calls of a process while f runs, and returns what it
// has written of them.
func (p *process) strace(t *testing.T, f func(), args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "strace")
	args = append([]string{"-f", "-o", file, "-p", strconv.Itoa(p.cmd.Process.Pid)}, args...)
	cmd := exec.Command(need(t, strace), args...)
	messages, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The first message tells that it is attached, or why it is not.
	first := make([]byte, 4096)
	n, _ := messages.Read(first)
	if !strings.Contains(string(first[:n]), "attached") {
		cmd.Wait()
		t.Skipf("strace may not look at the process: %s", first[:n])
	}
	var rest sync.WaitGroup
	rest.Go(func() { io.Copy(io.Discard, messages) }) // it tells of new threads
	detach := sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGINT)
		rest.Wait()
		cmd.Wait() // it ends by the signal
	})
	defer detach() // also when f ends the test
	f()
	detach()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// callsIn finds the number of calls in what strace -c prints.
func callsIn(t *testing.T, summary, name string) int {
	t.Helper()
	for line := range strings.Lines(summary) {
		// % time, seconds, usecs/call, calls, errors unless none, syscall
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] != name {
			continue
		}
		calls, err := strconv.Atoi(fields[3])
		if err != nil {
			t.Fatalf("%v in\n%s", err, summary)
		}
		return calls
	}
	return 0
}
