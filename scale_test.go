//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A drain with 5,000 idle clients and 10 busy ones takes as long as the slowest
// frame: the idle ones have their FIN at once, the busy ones their reply.
func TestDrainAtScale(t *testing.T) {
	skipShort(t)
	const idle, busy = 5000, 10
	needDescriptors(t, idle+busy+100)
	p := startCommand(t, "sleeper")
	idlers := crowd(t, p.addr, idle, "hello\n", "hello\n")
	workers := crowd(t, p.addr, busy, "slow\n", "begun\n")

	begin := time.Now()
	p.signal(syscall.SIGTERM)
	finished := make(chan time.Duration, 1)
	go func() { finished <- allReceive(t, workers, "done\n", begin) }()
	if took := allReceive(t, idlers, "", begin); took > time.Second {
		t.Errorf("the last idle client had its FIN after %v, want less than 1s", took)
	} else {
		t.Logf("the last idle client had its FIN after %v", took)
	}
	if took := <-finished; took > sleepTime+time.Second {
		t.Errorf("the last busy client had its reply after %v, its frame takes %v", took, sleepTime)
	}
	code := p.wait()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the process has ended after %v, want less than 3s", took)
	}
	if code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	wantDrained(t, p, entry{"level": "INFO", "idle": fmt.Sprint(idle), "finished": fmt.Sprint(busy), "cut": "0"})
}

// needDescriptors skips the test when a process may not have that many open
// files. The soft limit is no matter: a Go program raises its own at the start.
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

// crowd connects n clients, each of which has sent a line and got the answer:
// the server knows all of them.
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
	places := make(chan struct{}, 100) // at a time, less than the kernel queues
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

// allReceive reads each connection to its FIN, compares, and returns when the
// last one had come to that.
func allReceive(t *testing.T, conns []net.Conn, want string, begin time.Time) (last time.Duration) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, conn := range conns {
		all.Go(func() {
			got, err := io.ReadAll(conn)
			took := time.Since(begin)
			if err != nil || string(got) != want {
				t.Errorf("client %d received %q, %v; want %q", i, got, err, want)
			}
			mu.Lock()
			defer mu.Unlock()
			last = max(last, took)
		})
	}
	all.Wait()
	return last
}
