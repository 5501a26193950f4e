package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/testutil"
)

// stallTimeout is every timeout that the processes of TestStalls have. They are stopped for
// longer than that by stallMargin.
const (
	stallTimeout = 3 * time.Second
	stallMargin  = 1300 * time.Millisecond
)

// stallCell is what a client does around a stop of its server.
type stallCell struct {
	name                  string
	before, during, after func(c *stallClient)
	skip                  string // if not empty, why it is left out
}

// stallGroup is a server with the clients of its cells.
type stallGroup struct {
	name   string
	args   []string
	secure bool   // the clients speak TLS
	header string // what the clients send first
	proxy  bool   // the server is a proxy, and the test its upstream
	bare   bool   // the clients only connect before the cell begins
	silent string // the reason in the record of a client that sends nothing more; empty for none
	stop   bool   // SIGTERM comes before the stop
	full   bool   // the clients do not read: the server's output has come to a halt before the stop
	cells  []stallCell
}

// stallClient is a client of a server that is stopped (SIGSTOP).
type stallClient struct {
	t    *testing.T
	p    *process
	cell *stallCell
	raw  *heldConn
	conn net.Conn     // raw, or TLS over it
	up   *net.TCPConn // what its proxy has connected to the upstream

	received int // by receiveSome
}

// heldConn can hold back what is written to it, to send it in parts.
type heldConn struct {
	*net.TCPConn
	mu    sync.Mutex
	holds bool
	held  []byte
}

func (h *heldConn) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holds {
		h.held = append(h.held, p...)
		return len(p), nil
	}
	return h.TCPConn.Write(p)
}

// hold holds back what is sent while f runs.
func (c *stallClient) hold(f func()) {
	c.raw.holds = true
	f()
	c.raw.holds = false
}

// release sends what was held back, but for the last bytes.
func (c *stallClient) release(but int) {
	c.t.Helper()
	n := len(c.raw.held) - but
	send(c.t, c.raw.TCPConn, string(c.raw.held[:n]))
	c.raw.held = c.raw.held[n:]
}

// extend gives the client its deadlines, now that it has its turn.
func (c *stallClient) extend() {
	c.conn.SetDeadline(time.Now().Add(patience))
	if c.up != nil {
		c.up.SetReadDeadline(time.Now().Add(patience)) // its writer may have to wait for long
	}
}

func (c *stallClient) send(s string)      { c.t.Helper(); send(c.t, c.conn, s) }
func (c *stallClient) receive(s string)   { c.t.Helper(); receive(c.t, c.conn, s) }
func (c *stallClient) upSend(s string)    { c.t.Helper(); send(c.t, c.up, s) }
func (c *stallClient) upReceive(s string) { c.t.Helper(); receive(c.t, c.up, s) }

// upEnds checks that the upstream receives s and then the end.
func (c *stallClient) upEnds(s string) { c.t.Helper(); receiveRest(c.t, c.up, s) }

// ends checks that the client receives s and then the end, and sends its own FIN.
func (c *stallClient) ends(s string) {
	c.t.Helper()
	receiveRest(c.t, c.conn, s)
}

// receiveSome receives what is on its way, until the kernel of the server has less to send.
func (c *stallClient) receiveSome() {
	c.t.Helper()
	before := c.p.sendQueue(c.raw)
	for b := make([]byte, 32<<10); c.p.sendQueue(c.raw) >= before; {
		n, err := c.conn.Read(b)
		c.received += n
		if err != nil {
			c.t.Fatalf("received %d bytes, then %v", c.received, err)
		}
	}
}

// halfRecord sends a line, and all but the last bytes of the TLS records of another one. The
// server has read both when the first line has come back.
func (c *stallClient) halfRecord(line string, but int) {
	c.t.Helper()
	c.hold(func() { c.send("a\n"); c.send(line) })
	c.release(but)
	c.receive("a\n")
}

// fits is a line that the buffers of a socket take without its reader, but no single read. The
// kernel announces a window of 64 KiB at first.
var fits = strings.Repeat("f", 60_000) + "\n"

// long is a line of which only a part waits in the server's socket. The rest waits in the
// client's.
var long = strings.Repeat("l", 200_000) + "\n"

// frameCells are the cells of what a server reads.
func frameCells() []stallCell {
	whole := func(name, line string) stallCell {
		return stallCell{
			name:   name,
			before: func(c *stallClient) { c.send("a\n"); c.receive("a\n") },
			during: func(c *stallClient) { c.send(line) },
			after:  func(c *stallClient) { c.receive(line) },
		}
	}
	half := func(name, line string, but int) stallCell {
		return stallCell{
			name:   name,
			before: func(c *stallClient) { c.send("a\n" + line[:len(line)-but]); c.receive("a\n") },
			during: func(c *stallClient) { c.send(line[len(line)-but:]) },
			after:  func(c *stallClient) { c.receive(line) },
		}
	}
	return []stallCell{
		whole("a line waits", "hello\n"),
		whole("a line and a FIN wait", "hello\n").then(
			func(c *stallClient) { closeWrite(c.t, c.conn) },
			func(c *stallClient) { c.ends("") }),
		whole("a long line waits", fits),
		whole("a line that the socket does not hold waits", long),
		half("the second half waits", "hello\n", 3),
		half("the end of a long line waits", fits, 50_000),
		half("the end of a line that the socket does not hold waits", long, 190_000),
	}
}

// then adds to what a cell does.
func (c stallCell) then(during, after func(c *stallClient)) stallCell {
	d, a := c.during, c.after
	c.during = func(c *stallClient) { d(c); during(c) }
	c.after = func(c *stallClient) { a(c); after(c) }
	return c
}

func recordCells() []stallCell {
	return append(frameCells(),
		stallCell{
			name:   "half a record waits",
			before: func(c *stallClient) { c.halfRecord("hello\n", 5) },
			during: func(c *stallClient) { c.release(0) },
			after:  func(c *stallClient) { c.receive("hello\n") },
		},
		stallCell{
			name:   "most of a large record waits",
			before: func(c *stallClient) { c.halfRecord(fits[45_000:], 14_000) },
			during: func(c *stallClient) { c.release(0) },
			after:  func(c *stallClient) { c.receive(fits[45_000:]) },
		})
}

// roomCells are those of a server whose clients do not read until it is stopped. Then they
// read what is on its way.
func roomCells() []stallCell {
	reply := strings.Repeat("r", 1<<20) + "\n"
	return []stallCell{{
		name:   "the client has read meanwhile",
		before: func(c *stallClient) { c.send(reply); c.receive("r") },
		during: func(c *stallClient) { c.receiveSome() },
		after:  func(c *stallClient) { c.receive(reply[1+c.received:]) },
	}}
}

// pairCells are those of a proxy's pair.
func pairCells() []stallCell {
	ask := func(c *stallClient) { c.send("ask\n"); c.upReceive("ask\n") }
	return []stallCell{
		{
			name:   "the client's bytes wait",
			before: ask,
			during: func(c *stallClient) { c.send(fits) },
			after:  func(c *stallClient) { c.upReceive(fits); c.upSend("yes\n"); c.receive("yes\n") },
		}, {
			name:   "the upstream's bytes wait",
			before: ask,
			during: func(c *stallClient) { c.upSend(fits) },
			after:  func(c *stallClient) { c.receive(fits); c.send("more\n"); c.upReceive("more\n") },
		}, {
			name:   "the client's bytes and its FIN wait",
			before: ask,
			during: func(c *stallClient) { c.send(fits); closeWrite(c.t, c.conn) },
			after:  func(c *stallClient) { c.upEnds(fits); c.upSend("yes\n"); c.up.Close(); c.ends("yes\n") },
		}, {
			name:   "the upstream's bytes and its FIN wait",
			before: ask,
			during: func(c *stallClient) { c.upSend(long); closeWrite(c.t, c.up) },
			after:  func(c *stallClient) { c.ends(long); c.conn.Close(); c.upEnds("") },
		},
	}
}

// halfClosedCells are those of a pair one of whose directions has ended.
func halfClosedCells() []stallCell {
	asked := func(c *stallClient) { c.send("ask\n"); closeWrite(c.t, c.conn); c.upEnds("ask\n") }
	return []stallCell{
		{
			name:   "the reply waits",
			before: asked,
			during: func(c *stallClient) { c.upSend("yes\n"); c.up.Close() },
			after:  func(c *stallClient) { c.ends("yes\n") },
		}, {
			name:   "a long reply waits",
			before: asked,
			during: func(c *stallClient) { c.upSend(long); c.up.Close() },
			after:  func(c *stallClient) { c.ends(long) },
		}, {
			name:   "the client's end waits",
			before: func(c *stallClient) { closeWrite(c.t, c.up); c.ends("") },
			during: func(c *stallClient) { c.send(fits); c.conn.Close() },
			after:  func(c *stallClient) { c.upEnds(fits) },
		},
	}
}

// pairRoomCells are those of a pair whose client does not read until the proxy is stopped.
func pairRoomCells() []stallCell {
	reply := strings.Repeat("r", longReply)
	return []stallCell{{
		name: "the client has read meanwhile",
		before: func(c *stallClient) {
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				io.WriteString(c.up, reply) // a failure shows below
			}()
			c.t.Cleanup(func() { c.up.Close(); <-sent })
			c.receive("r")
		},
		during: func(c *stallClient) { c.receiveSome() },
		after:  func(c *stallClient) { c.receive(reply[1+c.received:]) },
	}}
}

// stallGroups are the servers of TestStalls. cert are the flags for TLS.
func stallGroups(cert []string) []stallGroup {
	limit := func(key string) string { return fmt.Sprintf("--%s=%v", key, stallTimeout) }
	headers := headerRequired(limit("tcp.proxy_header_timeout"))
	const header = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
	echoing := []string{"--echo.max_line=2MiB", "--tcp.send_buffer=64KiB"}
	plain := []stallGroup{
		{name: "idle_timeout", args: append(echoing, limit("echo.idle_timeout")), silent: "idle_timeout", cells: frameCells()},
		{name: "frame_timeout", args: append(echoing, limit("echo.frame_timeout")), cells: frameCells()},
		{name: "write_timeout", args: append(echoing, limit("echo.write_timeout")), full: true, cells: roomCells()},
		{name: "idle_timeout, write side", args: append(echoing, limit("echo.idle_timeout")), silent: "idle_timeout", full: true, cells: roomCells()},
		{name: "PROXY header, idle_timeout", args: append(headers, limit("echo.idle_timeout")), header: header, silent: "idle_timeout",
			cells: []stallCell{frameCells()[0], frameCells()[4]}},
		{name: "PROXY header, proxy_header_timeout", args: headers, bare: true, cells: headerCells(header)},
		{name: "proxy, idle_timeout", args: []string{limit("proxy.idle_timeout")}, proxy: true, silent: "idle_timeout", cells: pairCells()},
		{name: "proxy, half_close_timeout", args: []string{limit("proxy.half_close_timeout")}, proxy: true, cells: halfClosedCells()},
		{name: "proxy, idle_timeout, write side", args: []string{"--tcp.send_buffer=64KiB", limit("proxy.idle_timeout")}, proxy: true, full: true, cells: pairRoomCells()},
		{name: "proxy, drain_reply", args: []string{limit("proxy.drain_reply"), "--tcp.drain_timeout=1h"}, proxy: true, stop: true, cells: drainCells()[1:]},
		{name: "proxy, drain_quiet", args: []string{limit("proxy.drain_quiet"), "--proxy.drain_reply=0s", "--tcp.drain_timeout=1h"}, proxy: true, stop: true, cells: drainCells()},
		{name: "lingering", args: []string{"--tcp.linger=lingering", "--echo.max_line=10"}, cells: lingerCells()},
	}
	groups := plain
	for _, g := range plain {
		if g.bare {
			continue
		}
		g.secure, g.cells = true, slices.Clone(g.cells)
		if g.name == "frame_timeout" || g.name == "idle_timeout" {
			g.cells = recordCells()
		}
		g.args, g.name = append(cert, g.args...), "TLS, "+g.name
		for i := range g.cells {
			g.cells[i].skip = skipUnderTLS(g.name, g.cells[i].name)
		}
		groups = append(groups, g)
	}
	return append(groups, stallGroup{name: "TLS, handshake_timeout", args: append(cert, limit("tcp.handshake_timeout")), bare: true, cells: handshakeCells()})
}

// skipUnderTLS returns why a cell is left out under TLS.
func skipUnderTLS(group, cell string) string {
	return ""
}

func headerCells(header string) []stallCell {
	exchange := func(c *stallClient) { c.receive("hello\n") }
	return []stallCell{{
		name:   "the header waits",
		during: func(c *stallClient) { c.send(header + "hello\n") },
		after:  exchange,
	}, {
		name:   "the second half waits",
		before: func(c *stallClient) { c.send(header[:20]) },
		during: func(c *stallClient) { c.send(header[20:] + "hello\n") },
		after:  exchange,
	}, {
		name:   "the header waits, the line follows",
		during: func(c *stallClient) { c.send(header) },
		after:  func(c *stallClient) { c.send("hello\n"); c.receive("hello\n") },
	}}
}

// handshakeCells are those of clients that shake hands while the server is stopped.
func handshakeCells() []stallCell {
	begin := func(c *stallClient) {
		c.conn = tls.Client(c.raw, &tls.Config{InsecureSkipVerify: true})
		c.hold(func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.conn.(*tls.Conn).Handshake() // goes on when the server does
			}()
			testutil.Eventually(c.t, "the hello", func() bool {
				c.raw.mu.Lock()
				defer c.raw.mu.Unlock()
				return len(c.raw.held) > 0
			})
			c.t.Cleanup(func() { c.raw.Close(); <-done })
		})
	}
	exchange := func(c *stallClient) { c.send("hello\n"); c.receive("hello\n") }
	return []stallCell{{
		name:   "the hello waits",
		during: func(c *stallClient) { begin(c); c.release(0) },
		after:  exchange,
	}, {
		name:   "the second half of the hello waits",
		before: func(c *stallClient) { begin(c); c.release(100) },
		during: func(c *stallClient) { c.release(0) },
		after:  exchange,
	}}
}

func drainCells() []stallCell {
	ask := func(c *stallClient) { c.send("ask\n"); c.upReceive("ask\n") }
	return []stallCell{{
		name:   "the next question waits",
		before: func(c *stallClient) { ask(c); c.upSend("yes\n"); c.receive("yes\n") },
		during: func(c *stallClient) { c.send("ask\n") },
		after:  func(c *stallClient) { c.upReceive("ask\n"); c.upSend("yes\n"); c.receive("yes\n") },
	}, {
		name:   "the reply waits",
		before: ask,
		during: func(c *stallClient) { c.upSend("yes\n") },
		after:  func(c *stallClient) { c.ends("yes\n"); c.upEnds("") },
	}, {
		name:   "a long reply waits",
		before: ask,
		during: func(c *stallClient) { c.upSend(long) },
		after:  func(c *stallClient) { c.ends(long); c.upEnds("") },
	}}
}

func lingerCells() []stallCell {
	return []stallCell{{
		name:   "the client goes on sending",
		before: func(c *stallClient) { c.send("much too long\n"); c.ends("error: line too long (max 10 bytes)\n") },
		during: func(c *stallClient) { c.send(fits); closeWrite(c.t, c.conn) },
		after: func(c *stallClient) {
			c.p.await("peer", c.conn.LocalAddr().String()) // the server has closed it
			var b [1]byte
			if n, err := c.raw.Read(b[:]); n != 0 || err != io.EOF {
				c.t.Errorf("read %d bytes, %v; want the FIN as before", n, err)
			}
		},
	}}
}

// A process that is stopped (SIGSTOP, a debugger, a virtual machine that is moved) for longer
// than a timeout ends no client that has done its part meanwhile.
func TestStalls(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	a := newAuthority(t)
	a.issue("localhost")
	groups := stallGroups([]string{"--tcp.tls.cert=" + a.file("localhost.pem"), "--tcp.tls.key=" + a.file("localhost.key")})
	for round := range testutil.Rounds(1) {
		margin := stallMargin
		if round > 0 {
			margin = time.Duration(rand.Int64N(int64(stallMargin)))
		}
		t.Run(fmt.Sprint("round ", round+1), func(t *testing.T) { stallRound(t, groups, margin) })
	}
}

// stalled is a process that is stopped.
type stalled struct {
	*process
	group   *stallGroup
	name    string
	clients []*stallClient
	silent  net.Conn // of a client that sends nothing more; nil for none
}

// stallRound stops all servers once, at the same time. An ordinary run, of one round, leaves out
// those with TLS on the portable poller.
func stallRound(t *testing.T, groups []stallGroup, margin time.Duration) {
	var all []*stalled
	for i := range groups {
		g := &groups[i]
		if testutil.Reduced() && g.secure {
			continue
		}
		commands := []string{"wireline"}
		if !g.stop && (!g.secure && !testutil.Reduced() || testutil.Rounds(0) > 0) { // it takes no signals
			commands = append(commands, "portable")
		}
		for _, command := range commands {
			if s := stall(t, command, g); s != nil {
				all = append(all, s)
			}
		}
	}
	for _, s := range all {
		for _, c := range s.clients {
			c.extend()
			c.cell.during(c)
		}
	}
	time.Sleep(stallTimeout + margin) // that long, they are stopped
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) { s.check(t) })
	}
	for _, s := range all {
		t.Run(s.name+", end", func(t *testing.T) { s.checkEnd(t) })
	}
}

// stall starts a server and its clients, and stops it. It returns nil if the machine is too busy
// for that within the timeouts.
func stall(t *testing.T, command string, g *stallGroup) *stalled {
	t.Helper()
	for range 5 {
		if s := tryStall(t, command, g); s != nil {
			return s
		}
	}
	t.Logf("%s/%s is left out: the machine is too slow", command, g.name)
	return nil
}

// tryStall is stall. It returns nil if it takes so long that a timeout may have expired.
func tryStall(t *testing.T, command string, g *stallGroup) *stalled {
	t.Helper()
	args := append([]string{"--tcp.address=127.0.0.1:0"}, g.args...)
	var upstream net.Listener
	if g.proxy {
		upstream = testutil.Listen(t, "tcp", "127.0.0.1:0")
		args = append(args, "--handler=proxy", "--proxy.upstreams="+upstream.Addr().String())
	}
	s := &stalled{process: startCommand(t, command, args...), group: g, name: command + "/" + g.name}
	sockets := s.descriptors().sockets
	begin := time.Now()
	for i := range g.cells {
		for range g.stallClients() {
			if g.cells[i].skip == "" {
				s.clients = append(s.clients, s.connect(t, upstream, &g.cells[i]))
			}
		}
	}
	if g.silent != "" {
		cell := stallCell{}
		if !g.proxy { // so that its handshake is over
			cell.before = func(c *stallClient) { c.send("s\n"); c.receive("s\n") }
		}
		s.silent = s.connect(t, upstream, &cell).conn
	}
	if g.bare { // there is nothing else to tell that they are accepted
		testutil.Eventually(t, "accepted connections", func() bool { return s.descriptors().sockets >= sockets+len(s.clients) })
	}
	if g.full {
		s.awaitHalt()
	}
	if g.stop {
		s.signal(syscall.SIGTERM)
		s.await("msg", "draining")
	}
	s.signal(syscall.SIGSTOP)
	if err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, nil, unix.WSTOPPED, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > stallTimeout*3/4 {
		t.Logf("%s: the stop came after %v", s.name, took)
		s.kill()
		return nil
	}
	return s
}

// awaitHalt waits until what the process has sent, and nobody has read, does not change any more.
func (p *process) awaitHalt() {
	p.t.Helper()
	last, since := "", time.Now()
	testutil.Soon(stallTimeout, func() bool { // if it takes longer, a timeout has expired
		if now := p.sendQueues(); now != last {
			last, since = now, time.Now()
		}
		return last != "" && time.Since(since) > 50*time.Millisecond
	})
}

// sendQueues are the lengths of the send queues of the connections to the process, as the kernel
// shows them (proc(5), /proc/net/tcp).
func (p *process) sendQueues() (queues string) {
	p.t.Helper()
	for _, found := range p.connections(`\S+`) {
		queues += found[1] + " "
	}
	return queues
}

// sendQueue is the length of the send queue to a client.
func (p *process) sendQueue(client net.Conn) int64 {
	p.t.Helper()
	found := p.connections(`[0-9A-F]{8}` + hexPort(p.t, client.LocalAddr().String()))
	if len(found) == 0 { // a line may be there twice
		p.t.Fatal("the client is not connected")
	}
	n, err := strconv.ParseInt(found[0][1], 16, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// connections finds the established connections of the process to a remote address, each with the
// length of its send queue.
func (p *process) connections(remote string) [][]string {
	p.t.Helper()
	line := `(?m)^ *\d+: \S+` + hexPort(p.t, p.addr) + ` ` + remote + ` 01 ([0-9A-F]+):`
	return regexp.MustCompile(line).FindAllStringSubmatch(p.proc("net/tcp"), -1)
}

// hexPort is the port of an address as /proc/net/tcp shows it.
func hexPort(t *testing.T, addr string) string {
	t.Helper()
	_, port := splitAddr(addr)
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(":%04X", n)
}

// stallClients is how many clients of the group do the same: more in a long run.
func (g *stallGroup) stallClients() int {
	n := 1
	if !g.full { // those are slow to begin
		n = 2
	}
	if testutil.Rounds(0) > 0 {
		n *= 2
	}
	return n
}

// connect makes a client, which does what its cell does before the stop.
func (s *stalled) connect(t *testing.T, upstream net.Listener, cell *stallCell) *stallClient {
	t.Helper()
	c := &stallClient{t: t, p: s.process, cell: cell, raw: &heldConn{TCPConn: s.dial().(*net.TCPConn)}}
	c.conn = c.raw
	c.raw.SetDeadline(time.Now().Add(10 * patience)) // the other servers begin meanwhile
	c.raw.SetWriteBuffer(2 * len(long))
	if s.group.header != "" {
		c.send(s.group.header)
	}
	if s.group.secure {
		conn := tls.Client(c.raw, &tls.Config{InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		c.conn = conn
	}
	if upstream != nil {
		conn, err := upstream.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(10 * patience))
		c.up = conn.(*net.TCPConn)
		c.up.SetWriteBuffer(2 * len(long))
	}
	if cell.before != nil {
		cell.before(c)
	}
	return c
}

// check lets the process go on, and checks what its clients see. That comes at once, as the
// timeouts run again.
func (s *stalled) check(t *testing.T) {
	s.t = t
	s.signal(syscall.SIGCONT)
	for i := range s.group.cells {
		cell := &s.group.cells[i]
		t.Run(cell.name, func(t *testing.T) {
			if cell.skip != "" {
				t.Skip(cell.skip)
			}
			s.t = t
			defer func() {
				if t.Failed() {
					t.Logf("the server wrote:\n%s", abridgedLog(s.stderr.String()))
				}
			}()
			for _, c := range s.clients {
				if c.cell == cell {
					c.t = t
					c.extend()
					cell.after(c)
				}
			}
		})
	}
}

// checkEnd checks what the stop has left as it was.
func (s *stalled) checkEnd(t *testing.T) {
	defer s.kill()
	s.t = t
	if s.silent != nil {
		s.silent.SetDeadline(time.Now().Add(patience))
		receiveRest(t, s.silent, "")
		testutil.Eventually(t, "record of the silent client", func() bool {
			return slices.ContainsFunc(s.find("reason", s.group.silent), func(e entry) bool { return e["bytes_in"] == "0" || e["bytes_in"] == "2" })
		})
	}
	if s.group.stop {
		if code := s.wait(); code != exitOK {
			t.Errorf("exit code %d, want %d", code, exitOK)
		}
	}
}

// abridgedLog is the end of a log.
func abridgedLog(log string) string {
	lines := bytes.SplitAfter([]byte(log), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-12):], nil))
}
