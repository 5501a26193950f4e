package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wireline/internal/testutil"
)

// maxProxyPipes is the largest number of pipes of a proxy, and idleProxyPipes how many empty
// ones it keeps (proxy/pipe_linux.go). Each has two descriptors.
const (
	maxProxyPipes  = 64
	idleProxyPipes = 8
)

// descriptors counts the open files of a process by kind.
func (p *process) descriptors() (count descriptorCount) {
	p.t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		name, err := os.Readlink(filepath.Join(folder, file.Name()))
		if err != nil {
			continue // closed in the meantime
		}
		switch kind, _, _ := strings.Cut(name, ":["); kind {
		case "socket":
			count.sockets++
		case "pipe":
			count.pipes++
		default:
			count.others++
		}
	}
	return count
}

type descriptorCount struct{ sockets, pipes, others int }

func (c descriptorCount) minus(d descriptorCount) descriptorCount {
	return descriptorCount{c.sockets - d.sockets, c.pipes - d.pipes, c.others - d.others}
}

// An idle pair has two sockets and no other descriptors. Pipes are created when streams begin,
// and never more than the limit, even if no client reads.
func TestProxyDescriptors(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	const pairs, streams = 1000, maxProxyPipes + 16
	needDescriptors(t, 2*pairs+100)
	stalled, released := make(chan struct{}, streams), make(chan struct{})
	upstream := serveUpstream(t, func(conn *net.TCPConn) {
		b := []byte("hello\n")
		for string(b) == "hello\n" {
			if !readsFull(conn, b) {
				return
			}
			conn.Write(b)
		}
		stalled <- struct{}{}
		<-released
		io.Copy(io.Discard, struct{ io.Reader }{conn})
	})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	p := startProxy(t, upstream, "--log.connections=false")
	warm := p.dial() // the loops start with the first connection
	echoes(t, warm, "hello\n")
	before := p.descriptors()

	conns := crowd(t, p.addr, pairs, "hello\n", "hello\n")
	if got, want := p.descriptors().minus(before), (descriptorCount{sockets: 2 * pairs}); got != want {
		t.Errorf("%d idle pairs use %+v, want %+v", pairs, got, want)
	}

	var all sync.WaitGroup
	for _, conn := range conns[:streams] {
		conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		all.Go(func() {
			if sendZeros(conn, 1<<30) == nil {
				t.Error("the streams do not fill the buffers")
			}
		})
	}
	for range streams {
		select {
		case <-stalled:
		case <-time.After(patience):
			t.Fatal("a stream did not arrive")
		}
	}
	all.Wait()
	got := p.descriptors().minus(before)
	t.Logf("%d unread streams use %d descriptors of pipes", streams, got.pipes)
	if got.pipes > 2*maxProxyPipes {
		t.Errorf("%d descriptors of pipes, want at most %d", got.pipes, 2*maxProxyPipes)
	}
	if got.pipes == 0 { // on a busy machine, some come in pieces that are too small
		t.Error("no stream was spliced")
	}

	// After the streams only the idle pipes are left.
	release()
	for _, conn := range conns[:streams] {
		closeWrite(t, conn)
	}
	allReceive(t, conns[:streams], string(zeros[:6]))
	echoes(t, conns[streams], "hello\n")
	if got := p.descriptors().minus(before); got.pipes > 2*idleProxyPipes {
		t.Errorf("%d descriptors of pipes after the streams, want at most %d", got.pipes, 2*idleProxyPipes)
	}
	closeAll(conns)
	p.stopQuiet()
}

func closeAll(conns []net.Conn) {
	for _, conn := range conns {
		conn.Close()
	}
}

// call is a system call in a trace.
type call struct {
	thread, name string
	file         string // the descriptor in its first argument
	socket       bool   // the descriptor is a socket
}

// callBegin matches the beginning of a call in the output of strace -f -y. A call that was
// interrupted by others in the output has a second line, which begins with "<... ".
var callBegin = regexp.MustCompile(`^(\d+) +(\w+)\((?:(\d+)<(socket:)?)?`)

// trace returns the system calls of a process while f runs.
func (p *process) trace(t *testing.T, f func(), args ...string) (calls []call) {
	t.Helper()
	for line := range strings.Lines(p.strace(t, f, append([]string{"-y"}, args...)...)) {
		if found := callBegin.FindStringSubmatch(line); found != nil {
			calls = append(calls, call{found[1], found[2], found[3], found[4] != ""})
		}
	}
	return calls
}

// byName counts the calls of each name.
func byName(calls []call) map[string]int {
	count := map[string]int{}
	for _, c := range calls {
		count[c.name]++
	}
	return count
}

// Bulk data is not copied into the process: it is spliced, by the proxy and by a program with
// handler.Func and io.Copy, also behind a PROXY header. Only the first bytes, before the proxy
// knows that it is bulk data, are read and written.
func TestProxySplices(t *testing.T) {
	skipShort(t)
	headerRequired := []string{"--tcp.proxy_protocol=required", "--tcp.proxy_protocol_trusted=127.0.0.1"}
	for name, begin := range map[string]func(upstream string) (p *process, header string){
		"proxy": func(upstream string) (*process, string) { return startProxy(t, upstream), "" },
		"proxy, header required": func(upstream string) (*process, string) {
			return startProxy(t, upstream, headerRequired...), balancerHeader
		},
		"handler.Func": func(upstream string) (*process, string) { return startCommand(t, "relay", upstream), "" },
		"handler.Func, header required": func(upstream string) (*process, string) {
			return startCommand(t, "relay", upstream, "header-required"), balancerHeader
		},
	} {
		t.Run(name+", to the upstream", func(t *testing.T) { testSplices(t, begin, true) })
		t.Run(name+", to the client", func(t *testing.T) { testSplices(t, begin, false) })
	}
}

// balancerHeader is the header that a balancer sends.
const balancerHeader = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"

func testSplices(t *testing.T, begin func(upstream string) (p *process, header string), toUpstream bool) {
	const n = 128 << 20
	sums := make(chan streamSum, 2)
	relay := func(conn *net.TCPConn, sends bool) {
		if sends {
			sums <- sendStream(conn, n)
			conn.CloseWrite()
			io.Copy(io.Discard, conn)
			return
		}
		sums <- receiveStream(conn)
	}
	p, header := begin(serveUpstream(t, func(conn *net.TCPConn) { relay(conn, !toUpstream) }))
	conn := p.dial().(*net.TCPConn)
	calls := p.trace(t, func() {
		io.WriteString(conn, header)
		relay(conn, toUpstream)
		conn.Close()
		p.await("msg", "connection")
	}, "-e", "trace=splice,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg")
	if one, other := <-sums, <-sums; one != other || one.n != n {
		t.Errorf("one end: %v, the other: %v", one, other)
	}
	calls = slices.DeleteFunc(calls, func(c call) bool { return !c.socket && c.name != "splice" }) // calls of the loops' timers and of the log
	count := byName(calls)
	t.Logf("%d MiB with %v", n>>20, count)
	if count["splice"] == 0 {
		t.Error("nothing was spliced")
	}
	// Copied, it would be 4,096 of each. Some are read and written when the sender is slow.
	if got := len(calls) - count["splice"]; got > 128 {
		t.Errorf("%d reads and writes, want a few dozen at most", got)
	}
	p.stopQuiet()
}

// A small message costs one read, one write and the wait for it: as many system calls as in
// nginx, which is written in C and has a single thread. A loop that finds no event at once
// waits in the scheduler and asks again when it is woken. strace makes each message take long,
// and a busy machine even longer, so the test allows for that. It does not count the periodic
// calls of the runtime and of the loops' watchdog. There are more of them under strace, since
// a traced call looks like a function that blocks.
func TestProxyCallsForMessage(t *testing.T) {
	skipShort(t)
	const rounds = 2000
	upstream := serveUpstream(t, echoAll)
	count := func(p *process, addr string) (onSockets, all float64) {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		message := strings.Repeat("x", 64)
		echoes(t, conn, message) // now both sides are connected
		calls := p.trace(t, func() {
			for range rounds {
				echoes(t, conn, message)
			}
		})
		forMessages := callsForMessages(calls)
		sockets := slices.DeleteFunc(slices.Clone(forMessages), func(c call) bool { return !c.socket })
		onSockets, all = float64(len(sockets))/(2*rounds), float64(len(forMessages))/(2*rounds)
		t.Logf("%s: %.3f calls per message, %v; all calls: %v", filepath.Base(p.cmd.Path), all, byName(forMessages), byName(calls))
		return onSockets, all
	}
	ours := startProxy(t, upstream, "--log.connections=false")
	onSockets, all := count(ours, ours.addr)
	theirs, addr := startNginxProxy(t, upstream)
	if want, _ := count(theirs, addr); onSockets > want+0.02 {
		t.Errorf("%.3f calls on sockets per message, nginx uses %.3f", onSockets, want)
	}
	if all > onSockets+2.1 {
		t.Errorf("%.3f system calls per message, %.3f of them on sockets: want at most two for the wait", all, onSockets)
	}
}

// callsForMessages returns the calls that relay messages: those on sockets, and those on the
// epoll descriptor that lead to them.
func callsForMessages(calls []call) []call {
	isWait := func(c call) bool { return strings.HasPrefix(c.name, "epoll_") && strings.Contains(c.name, "wait") }
	last, epolls := map[string]call{}, map[string]int{}
	for _, c := range calls {
		if before := last[c.thread]; c.socket && isWait(before) {
			epolls[before.file]++
		}
		last[c.thread] = c
	}
	epoll := ""
	for file, n := range epolls {
		if n > epolls[epoll] {
			epoll = file
		}
	}
	return slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return !c.socket && c.file != epoll })
}

// The upstream refuses many clients at once: each is reset and has its record, and no
// descriptors are left.
func TestProxyStorm(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	const clients = 2000
	needDescriptors(t, 2*clients+100)
	p := startProxy(t, "127.0.0.1:"+freePort(t))
	visit := func() {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if errors.Is(err, syscall.ECONNRESET) {
			return // so soon that connect(2) reports it
		}
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		wantReset(t, conn)
	}
	visit() // the loops start with the first connection
	const record = `reason=no_upstream`
	p.awaitIn(&p.stderr, record, 1)
	before := p.descriptors()

	var all sync.WaitGroup
	begin := make(chan struct{})
	for range clients {
		all.Go(func() {
			<-begin
			visit()
		})
	}
	close(begin)
	all.Wait()
	p.awaitIn(&p.stderr, record, clients+1)
	if got := p.descriptors(); got != before {
		t.Errorf("%+v afterwards, want %+v as before", got, before)
	}
	p.stop()
	ids := map[string]bool{}
	for _, e := range p.find("reason", "no_upstream") {
		ids[e["id"]] = true
		if e["by"] != "server" || e["upstream"] == "" || e["err"] == "" || e["level"] != "WARN" {
			t.Errorf("record %v", e)
		}
	}
	if n := len(p.find("msg", "connection")); n != clients+1 || len(ids) != n {
		t.Errorf("%d records, %d with this reason, want %d", n, len(ids), clients+1)
	}
}
