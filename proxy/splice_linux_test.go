package proxy

import (
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/tcptest"
)

// relayed is a connection through a proxy on its event loop.
func relayed(t *testing.T) (x *Proxy, client, upstream net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	x = &Proxy{Config: Config{Upstreams: []string{ln.Addr().String()}}}
	x.Log = slog.New(slog.DiscardHandler)
	s := tcptest.NewServer(x)
	t.Cleanup(s.Close)
	client = s.Dial()
	if upstream, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{client, upstream} {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { conn.Close() })
	}
	return x, client, upstream
}

// move sends n bytes from one end to the other.
func move(t *testing.T, from, to net.Conn, n int64) {
	t.Helper()
	go io.CopyN(from, zeros{}, n)
	if got, err := io.CopyN(io.Discard, to, n); err != nil {
		t.Fatalf("%d of %d bytes, %v", got, n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (ps *pipes) count() (open, idle int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.open, len(ps.idle)
}

// Small messages are copied, long streams are spliced, and what follows is copied
// again. Nothing is kept but a few empty pipes.
func TestSplice(t *testing.T) {
	x, client, upstream := relayed(t)
	for range 100 {
		move(t, client, upstream, 64)
		move(t, upstream, client, 64)
	}
	if open, _ := x.pipes.count(); open != 0 {
		t.Errorf("%d pipes are open after small messages", open)
	}
	move(t, upstream, client, 64<<20)
	open, idle := x.pipes.count()
	for end := time.Now().Add(10 * time.Second); open != idle && time.Now().Before(end); {
		runtime.Gosched() // the last bytes are here before the pipe is back
		open, idle = x.pipes.count()
	}
	if open == 0 || open != idle || idle > idlePipes {
		t.Errorf("%d pipes are open, %d of them wait; want some, all of them waiting", open, idle)
	}
	for range 100 {
		move(t, client, upstream, 64)
		move(t, upstream, client, 64)
	}
	x.Close()
	if open, _ := x.pipes.count(); open != 0 {
		t.Errorf("%d pipes are open at the end", open)
	}
}

// Without a pipe to be had, everything is copied.
func TestSpliceWithoutPipes(t *testing.T) {
	x, client, upstream := relayed(t)
	ps := &x.pipes
	ps.mu.Lock()
	ps.open = maxPipes
	ps.mu.Unlock()
	move(t, upstream, client, 16<<20)
	move(t, client, upstream, 16<<20)
	if open, idle := ps.count(); open != maxPipes || idle != 0 {
		t.Errorf("%d pipes, %d waiting", open, idle)
	}
}

// isAlone reports whether this is a process in which only this test runs. If not, it
// runs the test in one.
func isAlone(t *testing.T) bool {
	t.Helper()
	const key = "WIRELINE_TEST_ALONE"
	if os.Getenv(key) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), key+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// Where the system gives no pipe, everything is copied, and when it does again, streams
// are spliced. It is out of descriptors in a process of its own.
func TestSpliceWithoutDescriptors(t *testing.T) {
	if !isAlone(t) {
		return
	}
	x, client, upstream := relayed(t)
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: usual.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(0)
	if err := unix.Pipe2(make([]int, 2), 0); err != unix.EMFILE {
		t.Fatalf("a pipe: %v, want that there is none", err)
	}
	move(t, upstream, client, 16<<20)
	move(t, client, upstream, 16<<20)
	if open, _ := x.pipes.count(); open != 0 {
		t.Errorf("%d pipes are open", open)
	}
	limit(usual.Cur)
	move(t, upstream, client, 64<<20)
	if open, _ := x.pipes.count(); open == 0 {
		t.Error("nothing is spliced when there are descriptors")
	}
}

// Behind a TCP urgent byte, which is not relayed, the stream goes on, and its end is
// its end.
func TestSpliceAndUrgentData(t *testing.T) {
	_, client, upstream := relayed(t)
	const size = 8 << 20
	go func() {
		client.Write(make([]byte, size))
		raw, _ := client.(*net.TCPConn).SyscallConn()
		raw.Write(func(fd uintptr) bool {
			return unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) != unix.EAGAIN
		})
		client.Write(make([]byte, size))
		client.(*net.TCPConn).CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, upstream); n != 2*size || err != nil {
		t.Errorf("%d bytes of %d, %v", n, 2*size, err)
	}
}
