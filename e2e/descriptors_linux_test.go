package e2e

import (
	"crypto/tls"
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

	"wireline/internal/testutil"
)

// A server without free file descriptors neither ends nor spins: it waits until one is free,
// and then accepts again.
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
		time.Sleep(interval) // the interval that is measured
		if used := p.cpu() - before; used >= 300*time.Millisecond {
			t.Errorf("used %v of CPU time in %v, want less than 300ms", used, interval)
		}
	})
	t.Run("accept4", func(t *testing.T) {
		calls := p.countCalls(t, "accept4", interval)
		t.Logf("%d accept4 calls in %v", calls, interval)
		if most := 20 * int(interval/time.Second); calls >= most {
			t.Errorf("%d accept4 calls in %v, want less than %d", calls, interval, most)
		}
		if calls == 0 {
			t.Error("no accept4 call, so the server cannot notice a free descriptor")
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

// queue is a set of clients, some of which are served while the others wait.
type queue struct {
	t      *testing.T
	served chan net.Conn // have received their reply
}

// newQueue connects clients, each of which has sent a line.
func newQueue(t *testing.T, addr string, clients int) *queue {
	t.Helper()
	q := &queue{t: t, served: make(chan net.Conn, clients)}
	var readers sync.WaitGroup
	t.Cleanup(readers.Wait)
	for range clients {
		conn, err := net.DialTimeout("tcp", addr, patience) // the kernel completes the handshake
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

// closeServed closes all clients that have been served, and returns their number.
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

// closeNext waits until a client is served and closes it.
func (q *queue) closeNext() {
	q.t.Helper()
	select {
	case conn := <-q.served:
		conn.Close()
	case <-time.After(patience):
		q.t.Fatal("a client is not served, although descriptors are free again")
	}
}

// countCalls counts the process's system calls of that name during interval.
func (p *process) countCalls(t *testing.T, name string, interval time.Duration) int {
	t.Helper()
	summary := p.strace(t, func() { time.Sleep(interval) }, "-c", "-e", "trace="+name) // the interval that is measured
	return callsIn(t, summary, name)
}

// strace traces the process while f runs, and returns the trace.
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
	// The first message says that strace is attached, or why it is not.
	first := make([]byte, 4096)
	n, _ := messages.Read(first)
	if !strings.Contains(string(first[:n]), "attached") {
		cmd.Wait()
		t.Skipf("strace may not trace the process: %s", first[:n])
	}
	var rest sync.WaitGroup
	rest.Go(func() { io.Copy(io.Discard, messages) }) // it reports new threads
	detach := sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGINT)
		rest.Wait()
		cmd.Wait() // the signal ended it
	})
	defer detach() // also if f ends the test
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
		// The columns: % time, seconds, usecs/call, calls, errors (empty if none), syscall.
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

// A handshake needs a descriptor for a moment. Where there is none, it fails, and nothing else: the
// server serves again when descriptors are free.
func TestOutOfDescriptorsTLS(t *testing.T) {
	skipShort(t)
	const clients, descriptors = 200, 64
	a := newAuthority(t)
	p := a.startTLS(t, "--log.connections=false")
	limit := unix.Rlimit{Cur: descriptors, Max: descriptors}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	conns := make([]net.Conn, clients)
	var handshakes sync.WaitGroup
	for i := range conns {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
		handshakes.Go(func() {
			conn.SetDeadline(time.Now().Add(3 * time.Second))
			tls.Client(conn, a.Client("localhost")).Handshake() // it may fail, or wait in the queue
		})
	}
	handshakes.Wait()
	for _, conn := range conns {
		conn.Close()
	}
	testutil.Eventually(t, "a new client is served", func() bool {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(3 * time.Second))
		client := tls.Client(conn, a.Client("localhost"))
		answer := make([]byte, 6)
		_, err = client.Write([]byte("hello\n"))
		return err == nil && readsFull(client, answer) && string(answer) == "hello\n"
	})
	p.stop()
}
