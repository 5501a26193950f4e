package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/testutil"
)

// restartKind is a server of TestRestarts.
type restartKind struct {
	name   string
	args   []string
	secure bool // its clients speak TLS 1.3
	header bool // they send a PROXY header
	slow   bool // it is a proxy, whose upstream answers after 250 ms
}

var restartKinds = []restartKind{
	{name: "echo"},
	{name: "TLS", secure: true},
	{name: "PROXY header", args: headerRequired(), header: true},
	{name: "proxy", args: []string{"--handler=proxy"}, slow: true},
}

// restarts is a server that is restarted under load: its successor listens on the same address,
// with SO_REUSEPORT, before it stops.
type restarts struct {
	t       *testing.T
	kind    *restartKind
	addr    string
	args    []string
	clients sync.WaitGroup
	stopped chan struct{}
	replies atomic.Int64

	mu      sync.Mutex
	failed  []failedVisit
	records map[string][]entry // by the peer
}

// failedVisit is a connection without a reply.
type failedVisit struct {
	peer string // its client's address; empty if it was not made
	sent bool   // the request was sent whole
	slow bool   // it was sent so late that the server may have found the connection idle
	err  error

	began, ended time.Time
}

// slowClient is how long a client takes at least that is slow: a stop leaves each connection as
// much time before it can be found idle.
const slowClient = 5 * time.Millisecond

// slowHandshake is how long a client has at least, from its accept, until a stop gives its handshake
// up. With TLS 1.3 the client may have sent its request by then: the server has not read the end of
// the handshake.
const slowHandshake = 200 * time.Millisecond

const migrateKey = "/proc/sys/net/ipv4/tcp_migrate_req"

// migrates is set where net.ipv4.tcp_migrate_req is 1.
const migrates = "WIRELINE_E2E_MIGRATES"

// A request that was sent whole on a connection that a server has accepted has its reply, also if
// the server stops meanwhile. Without net.ipv4.tcp_migrate_req the kernel resets connections that
// the server's listener has not completed when it is closed; none of them is accepted.
func TestRestarts(t *testing.T) {
	t.Parallel()
	for i := range restartKinds {
		kind := &restartKinds[i]
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			r := newRestarts(t, kind)
			r.run(testutil.Rounds(5))
			r.check(os.Getenv(migrates) != "")
		})
	}
}

// With net.ipv4.tcp_migrate_req, which a namespace of its own can have, there is no error at all.
func TestRestartsWithMigration(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestInNamespace$", "-test.v", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), migrates+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM) && os.Getenv("WIRELINE_TEST_INTEROP") != "required":
		t.Skipf("no network namespace: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
}

// TestInNamespace is TestRestarts in the network namespace that TestRestartsWithMigration makes.
func TestInNamespace(t *testing.T) {
	if os.Getenv(migrates) == "" {
		t.Skip("TestRestartsWithMigration runs it")
	}
	if _, err := os.Stat(migrateKey); err != nil {
		t.Skip(err) // Linux before 5.14
	}
	if err := os.WriteFile(migrateKey, []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := raiseLoopback(); err != nil {
		t.Fatal(err)
	}
	t.Run("all", TestRestarts)
}

// raiseLoopback has a new namespace reach itself.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

func newRestarts(t *testing.T, kind *restartKind) *restarts {
	r := &restarts{t: t, kind: kind, addr: "127.0.0.1:" + freeSharedPort(t), stopped: make(chan struct{}), records: map[string][]entry{}}
	r.args = append([]string{"--tcp.address=" + r.addr, "--tcp.reuse_port=true", "--log.level=debug"}, kind.args...)
	if kind.secure {
		a := newAuthority(t)
		a.issue("localhost")
		r.args = append(r.args, "--tcp.tls.cert="+a.file("localhost.pem"), "--tcp.tls.key="+a.file("localhost.key"))
	}
	if kind.slow {
		r.args = append(r.args, "--proxy.upstreams="+serveUpstream(t, answerLater))
	}
	return r
}

// freeSharedPort is freePort for servers with SO_REUSEPORT.
func freeSharedPort(t *testing.T) string {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return err
	}}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port := splitAddr(ln.Addr().String())
	return port
}

// answerLater answers each line with the same after 250 ms.
func answerLater(conn *net.TCPConn) {
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		time.Sleep(250 * time.Millisecond)
		io.WriteString(conn, line)
	}
}

// run restarts the server n times, with 8 clients.
func (r *restarts) run(n int) {
	old := r.start()
	if value, err := os.ReadFile(migrateKey); err == nil && string(value) == "0\n" {
		old.await("level", "WARN") // it says so
	}
	for i := range 8 {
		r.clients.Go(func() {
			for n := 0; !r.isStopped(); n++ {
				began := time.Now()
				if f := r.visit(fmt.Sprintf("client %d line %d\n", i, n)); f.err != nil {
					f.began, f.ended = began, time.Now()
					r.mu.Lock()
					r.failed = append(r.failed, f)
					r.mu.Unlock()
				}
				time.Sleep(2 * time.Millisecond) // or the ports run out
			}
		})
	}
	for range n {
		next := r.start()
		served := r.replies.Load()
		testutil.Eventually(r.t, "the next clients", func() bool { return r.replies.Load() >= served+16 })
		r.end(old)
		old = next
	}
	close(r.stopped)
	r.clients.Wait()
	r.end(old)
}

func (r *restarts) isStopped() bool {
	select {
	case <-r.stopped:
		return true
	default:
		return false
	}
}

// start starts a server.
func (r *restarts) start() *process {
	r.t.Helper()
	return startCommand(r.t, "wireline", r.args...)
}

// end stops a server and keeps its records.
func (r *restarts) end(p *process) {
	r.t.Helper()
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitOK {
		r.t.Errorf("exit code %d, want %d", code, exitOK)
	}
	if took := time.Since(begin); took > 5*time.Second {
		r.t.Errorf("a stop took %v", took)
	}
	for _, e := range p.log() {
		if os.Getenv(migrates) != "" && e["level"] == "WARN" {
			r.t.Errorf("warning %v", e)
		}
		if e["peer"] != "" {
			r.records[e["peer"]] = append(r.records[e["peer"]], e)
		}
	}
	p.stderr.mu.Lock()
	p.stderr.buf.Reset()
	p.stderr.mu.Unlock()
}

// visit makes one connection, and sends a line on it.
func (r *restarts) visit(line string) (f failedVisit) {
	ready := time.Now() // the server may have the connection from now on
	raw, err := net.DialTimeout("tcp", r.addr, patience)
	if err != nil {
		return failedVisit{err: err}
	}
	defer raw.Close()
	f.peer = raw.LocalAddr().String()
	raw.SetDeadline(time.Now().Add(patience))
	conn := raw
	if r.kind.header {
		host, port := splitAddr(f.peer)
		ready = time.Now()
		if _, f.err = fmt.Fprintf(raw, "PROXY TCP4 %s 127.0.0.1 %s 1\r\n", host, port); f.err != nil {
			return f
		}
	}
	if r.kind.secure {
		began := ready
		secure := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if f.err = secure.Handshake(); f.err != nil {
			f.slow = time.Since(ready) > slowHandshake
			return f
		}
		conn, ready = secure, time.Now()
		f.slow = ready.Sub(began) > slowHandshake // the server may have given it up
	}
	if _, f.err = io.WriteString(conn, line); f.err != nil {
		return f
	}
	f.sent, f.slow = true, time.Since(ready) > slowClient
	got := make([]byte, len(line))
	if _, f.err = io.ReadFull(conn, got); f.err == nil && string(got) != line {
		f.err = fmt.Errorf("received %q", got)
	}
	if f.err == nil {
		r.replies.Add(1)
	}
	return f
}

// check checks the visits that have failed. If the kernel migrates connections to the next
// listener, there are none.
func (r *restarts) check(migrating bool) {
	refused, crossed := 0, 0
	for _, f := range r.failed {
		record := r.recordOf(f)
		// What arrives after the server's FIN is read, and counts as bytes, but is no frame.
		unread := record["bytes_in"] == "0" || record["frames_in"] == "0"
		late := f.slow && (record["reason"] == "drain" && unread || !f.sent)
		gaveUp := record["cause"] == "tls_handshake" && f.ended.Sub(f.began) > slowHandshake
		if late || gaveUp {
			crossed++ // the server's FIN, on a machine that is too busy
			continue
		}
		if migrating || f.sent && record != nil || isTimeout(f.err) {
			r.t.Errorf("sent %v, slow %v, %v; record %v", f.sent, f.slow, f.err, record)
			continue
		}
		refused++
	}
	r.t.Logf("%d replies, %d connections refused or reset before they were accepted, %d ended before their clients sent something",
		r.replies.Load(), refused, crossed)
}

// recordOf returns a server's record of a visit, or nil. Other visits may have had the same port.
func (r *restarts) recordOf(f failedVisit) entry {
	const rounding = 5 * time.Millisecond
	for _, e := range r.records[f.peer] {
		written, _ := time.Parse(time.RFC3339Nano, e["time"])
		seconds, _ := strconv.ParseFloat(e["duration_s"], 64)
		began := written.Add(-time.Duration(seconds * float64(time.Second)))
		if !began.Before(f.began.Add(-rounding)) && !began.After(f.ended.Add(rounding)) {
			return e
		}
	}
	return nil
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
