//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A drain of 5,000 idle clients and 10 busy ones: the idle clients receive their FIN while the
// others are still served, the busy ones receive their reply when it is ready, and then the
// process ends.
func TestDrainAtScale(t *testing.T) {
	skipShort(t)
	const idle, busy = 5000, 10
	needDescriptors(t, idle+busy+100)
	stdin, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release.Close() })
	p := launchWith(t, stdin, "worker")
	stdin.Close()
	p.addr = p.await("msg", "listening")["addr"]
	idlers := crowd(t, p.addr, idle, "hello\n", "hello\n")
	workers := crowd(t, p.addr, busy, "work\n", "begun\n")

	begin := time.Now()
	p.signal(syscall.SIGTERM)
	allReceive(t, idlers, "")
	t.Logf("the last idle client received its FIN after %v", time.Since(begin))
	begin = time.Now()
	release.Close()
	allReceive(t, workers, "done\n")
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	t.Logf("the process ended %v after the frames", time.Since(begin))
	wantDrained(t, p, entry{"level": "INFO", "idle": fmt.Sprint(idle), "finished": fmt.Sprint(busy), "cut": "0"})
}

// needDescriptors skips the test if a process cannot open that many files. The soft limit does
// not matter: a Go program raises its own when it starts.
func needDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if uint64(limit.Max) < n {
		t.Skipf("needs %d open files, and the hard limit is %d (ulimit -Hn)", n, limit.Max)
	}
}

// crowd connects n clients. Each has sent a line and received the reply, so the server has
// accepted all of them.
func crowd(t *testing.T, addr string, n int, line, answer string) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	t.Cleanup(func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	})
	var all sync.WaitGroup
	places := make(chan struct{}, 100) // connecting at a time; fewer than the kernel queues
	for i := range conns {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			conn, err := net.DialTimeout("tcp", addr, patience)
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = conn
			conn.SetDeadline(time.Now().Add(patience))
			io.WriteString(conn, line)
			if got := make([]byte, len(answer)); !readsFull(conn, got) || string(got) != answer {
				t.Errorf("client %d received %q, want %q", i, got, answer)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// allReceive reads each connection to its FIN and compares.
func allReceive(t *testing.T, conns []net.Conn, want string) {
	var all sync.WaitGroup
	for i, conn := range conns {
		all.Go(func() {
			conn.SetDeadline(time.Now().Add(patience))
			if got, err := io.ReadAll(conn); err != nil || string(got) != want {
				t.Errorf("client %d received %q, %v; want %q", i, got, err, want)
			}
		})
	}
	all.Wait()
}
