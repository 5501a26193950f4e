package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
	"wireline/tcp"
)

// Start and stop, again and again, while clients come and go: each of them is
// served, or sees an end in good order, or no server at all. Nothing hangs, and
// nothing stays behind (TestMain looks for goroutines).
func TestCycles(t *testing.T) {
	testutil.Long(t)
	const (
		lanes = 8 // side by side: a cycle is mostly waiting
		limit = 40 * time.Second
	)
	cycles := int32(1000)
	if testutil.Reduced() {
		cycles = 100
	}
	var total tally
	cycle(t, &total) // opens what the runtime keeps open
	files := testutil.OpenFiles(t)
	end := time.Now().Add(limit)
	var done atomic.Int32
	var g sync.WaitGroup
	for range lanes {
		g.Go(func() {
			for done.Add(1) <= cycles && time.Now().Before(end) && !t.Failed() {
				cycle(t, &total)
			}
		})
	}
	g.Wait()
	if n := done.Load(); n < cycles && !t.Failed() {
		t.Logf("no more than %d cycles in %v: the machine is busy", n, limit)
	}
	t.Logf("lines: %d answered, %d not; %d connects refused; %d clients reset at the last moment",
		total.answered.Load(), total.ended.Load(), total.refused.Load(), total.unlucky.Load())
	// Between the last look into the kernel's queue and the close of the
	// listener is a moment that cannot be taken away, only made short, and that on Linux.
	if n, most := total.unlucky.Load(), cycles/50; n > most && runtime.GOOS == "linux" {
		t.Errorf("%d clients were reset that came when the listener closed, in %d cycles; %d may be bad luck", n, cycles, most)
	}
	if total.ended.Load() == 0 || total.refused.Load() == 0 {
		t.Error("no stop met a client")
	}
	if !soon(patience, func() bool { return testutil.OpenFiles(t) <= files }) {
		t.Errorf("%d open files before, %d after", files, testutil.OpenFiles(t))
	}
}

// tally counts how it went.
type tally struct{ answered, ended, refused, unlucky atomic.Int32 }

// errGone is what a client gets when the server has gone in good order.
var errGone = errors.New("gone")

// cycle starts a server, stops it while clients talk to it, and waits for all.
func cycle(t *testing.T, total *tally) {
	srv := &tcp.Server{Handler: echo()}
	ln, err := tcp.Listen(context.Background(), &tcp.Config{Address: "127.0.0.1:0"})
	if err != nil {
		t.Error(err)
		return
	}
	addr := ln.Addr().String()
	result := serve(context.Background(), t, srv, ln)
	var clients, settled sync.WaitGroup
	run := func(name string, lines int, pause time.Duration) {
		settled.Add(1)
		clients.Go(func() {
			seen := sync.OnceFunc(settled.Done)
			defer seen()
			for {
				err := total.visit(addr, lines, seen)
				if err == errGone {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if pause > 0 {
					time.Sleep(rand.N(pause))
				}
			}
		})
	}
	for range 2 {
		run("resident", 1<<30, 0)
	}
	for range 2 {
		run("visitor", 1, 20*time.Millisecond)
	}
	run("silent", 0, 0)
	settled.Wait()
	shutdown(t, srv)
	if err := result(); !errors.Is(err, tcp.ErrServerClosed) {
		t.Errorf("serve: %v", err)
	}
	clients.Wait()
}

// visit connects and sends so many lines, each when the one before has come
// back; without any it waits for the server's end. It calls settled when the
// server has taken the connection in. errGone says that the server is gone, in
// good order: it refuses the connect, or there is a FIN where a line was
// expected. Never is there a reset after a line that was answered.
func (y *tally) visit(addr string, lines int, settled func()) error {
	// A SYN that comes when the listener is about to close is dropped, and sent
	// again after a second: then it is refused. Not all of these are waited for.
	conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
	const windowsRefused = syscall.Errno(10061) // WSAECONNREFUSED
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, windowsRefused), isTimeout(err):
		y.refused.Add(1)
		return errGone
	case isReset(err), errors.Is(err, syscall.EPIPE): // EPIPE tells of a FIN, then a reset
		y.unlucky.Add(1)
		return errGone
	case err != nil:
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if lines == 0 {
		settled()
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			return fmt.Errorf("read %q, %w", got, err)
		}
		return errGone
	}
	for i := range lines {
		line := fmt.Sprintf("line %d\n", i)
		_, writeErr := io.WriteString(conn, line) // fails after the server's FIN
		got := make([]byte, len(line))
		n, err := io.ReadFull(conn, got)
		switch {
		case err == nil && string(got) == line:
			y.answered.Add(1)
			settled()
		case err == io.EOF:
			y.ended.Add(1)
			return errGone
		case i == 0 && isReset(err):
			y.unlucky.Add(1)
			return errGone
		default:
			return fmt.Errorf("line %d: read %q, %w (write: %v)", i, got[:n], err, writeErr)
		}
	}
	return nil
}
