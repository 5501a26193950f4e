//go:build unix

package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcp"
)

// The well-known tutorial design of a TCP server has 13 defects. Each check
// below looks for one of them from outside. It must not find it in wireline,
// and must find it in naive, which has them all: that shows that the check
// would notice.
var baseline = []struct {
	name  string
	check func(b *bench)
	finds int // how many findings naive must give

	// races tells that naive cannot show the defect without a data race, for
	// which the race detector would fail the test.
	races bool
}{
	{"01 EMFILE ends the server", checkEMFILE, 1, false},
	{"02 connections are not closed after FIN or RST", checkClosed, 2, false},
	{"03 a client between accept and store is missed", checkMissed, 1, false},
	{"04 clients are drained one by one", checkOneByOne, 1, false},
	{"05 a wait given up leaves a goroutine", checkLeak, 1, false},
	{"06 a draining client takes the next line", checkNextLine, 1, true},
	{"07 the client counter is not atomic", checkCounter, 1, false},
	{"08 a line has no bound", checkBound, 1, false},
	{"09 limits are never read", checkLimits, 2, false},
	{"10 SIGHUP kills and a second signal is lost", checkSignals, 2, false},
	{"11 a client that does not read pins its handler", checkPinned, 1, false},
	{"12 write errors are ignored", checkWriteErrors, 1, false},
	{"13 a panic ends the process", checkPanic, 1, false},
}

func TestBaseline(t *testing.T) {
	testutil.Long(t)
	for _, c := range baseline {
		t.Run(c.name, func(t *testing.T) {
			t.Run("wireline", func(t *testing.T) {
				b := &bench{T: t, server: "wireline", build: newFramed, storesAt: 1}
				c.check(b)
				for _, finding := range b.findings {
					t.Error(finding)
				}
			})
			t.Run("naive", func(t *testing.T) {
				if c.races && testutil.RaceEnabled {
					t.Skip("WaitGroup.Add while Wait waits is a data race")
				}
				if testutil.Reduced() {
					t.Skip("takes its time: it waits for what does not come")
				}
				b := &bench{T: t, server: "naive", build: newNaiveSubject, storesAt: 2}
				c.check(b)
				if len(b.findings) != c.finds {
					t.Errorf("%d findings, want %d: the check would not notice", len(b.findings), c.finds)
				}
				for _, finding := range b.findings {
					t.Log("as it must be:", finding)
				}
			})
		})
	}
}

// subject is a server under test.
type subject interface {
	Serve()         // until it has stopped
	Shutdown()      // in good order, bounded by drainTimeout
	Active() int    // clients
	Draining() bool // the clients know that they are to end
}

func newNaiveSubject(ln net.Listener, o options) subject { return newNaive(ln, o) }

// framed is wireline's server with its handler for frames.
type framed struct {
	srv     tcp.Server
	frames  *handler.Frames
	ln      net.Listener
	timeout time.Duration
}

func newFramed(ln net.Listener, o options) subject {
	h := echoAfter(o.work)
	h.IdleTimeout, h.WriteTimeout = o.idleTimeout, o.writeTimeout
	s := &framed{frames: h, ln: ln, timeout: o.drainTimeout}
	s.srv.Handler, s.srv.MaxClients = h, o.maxClients
	s.srv.Log = slog.New(slog.DiscardHandler)
	return s
}

func (s *framed) Serve() { s.srv.Serve(context.Background(), s.ln) }

func (s *framed) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	s.srv.Shutdown(ctx)
}

func (s *framed) Active() int    { return s.srv.Stats().Active }
func (s *framed) Draining() bool { return s.frames.Drained() != handler.DrainStats{} }

// bench is where a check looks at one kind of server.
type bench struct {
	*testing.T
	server   string
	build    func(net.Listener, options) subject
	storesAt int // the call of RemoteAddr that comes just before the client is stored
	findings []string
}

// window is how long to wait for what is to come: d is for the one that it does not
// come from, the other has the time that a busy machine needs.
func (b *bench) window(d time.Duration) time.Duration {
	if b.server == "naive" {
		return d
	}
	return patience
}

func (b *bench) find(format string, args ...any) {
	b.findings = append(b.findings, fmt.Sprintf(format, args...))
}

// start starts a server with o, on a listener whose first Accept fails with
// fail if that is not nil. All of it is gone at the test's end.
func (b *bench) start(o options, fail error) *stand {
	b.Helper()
	if o.work == nil {
		o.work = func(string) {}
	}
	if o.drainTimeout == 0 {
		o.drainTimeout = patience
	}
	s := &stand{bench: b, served: make(chan struct{}), drained: make(chan struct{})}
	s.ln = &watched{TCPListener: listenTCP(b.T), fail: fail}
	s.subject = b.build(s.ln, o)
	s.shutdown = sync.OnceFunc(func() {
		go func() {
			s.Shutdown()
			close(s.drained)
		}()
	})
	go func() {
		s.Serve()
		close(s.served)
	}()
	b.Cleanup(func() {
		s.ln.closeAll() // what naive does not do
		<-s.served      // and it must have nothing to do when it stops
		s.shutdown()
		<-s.drained
	})
	return s
}

// stand is a server under test.
type stand struct {
	*bench
	subject
	ln *watched

	shutdown func()        // starts Shutdown, once
	drained  chan struct{} // closed when Shutdown has returned
	served   chan struct{} // closed when Serve has returned
}

func (s *stand) dial() *net.TCPConn {
	s.Helper()
	return dial(s.T, "tcp", s.ln.Addr().String()).(*net.TCPConn)
}

// holdClients connects n clients and waits until g holds the lines of all.
func (s *stand) holdClients(n int, g *gate) {
	s.Helper()
	for range n {
		send(s.T, s.dial(), "hold\n")
	}
	for range n {
		testutil.Await(s.T, "a line that is held", g.holding)
	}
}

// watched is a listener that keeps what it has accepted, so that the collector
// does not close what the server forgets to.
type watched struct {
	*net.TCPListener

	mu       sync.Mutex
	fail     error
	next     *held // the connection to be accepted next, if it is to be held
	accepted []*net.TCPConn
}

func (w *watched) Accept() (net.Conn, error) {
	w.mu.Lock()
	fail := w.fail
	w.fail = nil
	w.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	conn, err := w.AcceptTCP()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accepted = append(w.accepted, conn)
	if h := w.next; h != nil {
		w.next, h.TCPConn = nil, conn
		return h, nil
	}
	return conn, nil
}

// hold makes the server wait in the given call of RemoteAddr of its next
// connection: as if the scheduler had something better to do just then.
func (w *watched) hold(call int) *held {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = &held{call: int32(call), entered: make(chan struct{}), leave: make(chan struct{})}
	return w.next
}

// closed reports whether the server has closed the i-th connection.
func (w *watched) closed(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := w.accepted[i].SyscallConn()
	return err != nil || errors.Is(raw.Control(func(uintptr) {}), net.ErrClosed)
}

func (w *watched) closeAll() {
	w.TCPListener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.accepted {
		conn.Close()
	}
}

type held struct {
	*net.TCPConn
	call           int32
	calls          atomic.Int32
	entered, leave chan struct{}
}

func (h *held) RemoteAddr() net.Addr {
	if h.calls.Add(1) == h.call {
		close(h.entered)
		<-h.leave
	}
	return h.TCPConn.RemoteAddr()
}

func checkEMFILE(b *bench) {
	s := b.start(options{}, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)})
	conn := s.dial()
	send(b.T, conn, "a\n")
	if silent(conn, b.window(time.Second)) {
		b.find("no client is served after one EMFILE")
	}
}

func checkClosed(b *bench) {
	s := b.start(options{}, nil)
	ends := []struct {
		name string
		end  func(*net.TCPConn)
	}{
		{"FIN", func(conn *net.TCPConn) { conn.CloseWrite() }},
		{"RST", func(conn *net.TCPConn) { reset(b.T, conn) }},
	}
	for i, end := range ends {
		conn := s.dial()
		exchange(b.T, conn, "a\n")
		end.end(conn)
		if !soon(b.window(time.Second), func() bool { return s.ln.closed(i) }) {
			b.find("the connection is open a second after the client's %s", end.name)
		}
	}
}

func checkMissed(b *bench) {
	s := b.start(options{}, nil)
	held := s.ln.hold(b.storesAt)
	s.dial()
	testutil.Await(b.T, "the accept", held.entered)
	s.shutdown()
	receivedSoon(s.drained, 300*time.Millisecond) // or it waits for this client, as it should
	close(held.leave)
	if !receivedSoon(s.served, b.window(2*time.Second)) || !receivedSoon(s.drained, b.window(2*time.Second)) {
		b.find("the server hangs: a client came while it began to stop")
	}
}

func checkOneByOne(b *bench) {
	g := newGate(b.T)
	defer g.open()
	s := b.start(options{work: g.work, drainTimeout: 200 * time.Millisecond}, nil)
	s.holdClients(30, g)
	s.shutdown()
	if !receivedSoon(s.drained, 5*time.Second) {
		b.find("30 clients, 200 ms to drain: takes more than 5 s")
	}
}

func checkLeak(b *bench) {
	g := newGate(b.T)
	defer g.open()
	s := b.start(options{work: g.work, drainTimeout: 50 * time.Millisecond}, nil)
	s.holdClients(10, g)
	before := runtime.NumGoroutine()
	s.shutdown()
	testutil.Await(b.T, "the drain", s.drained)
	if !soon(b.window(time.Second), func() bool { return runtime.NumGoroutine() <= before }) {
		b.find("%d goroutines, and %d after the drain has given up", before, runtime.NumGoroutine())
	}
}

func checkNextLine(b *bench) {
	g := newGate(b.T)
	defer g.open()
	var next atomic.Int32
	s := b.start(options{work: func(line string) {
		g.work(line)
		if line == "next" {
			next.Add(1)
		}
	}}, nil)
	send(b.T, s.dial(), "hold\nnext\n")
	testutil.Await(b.T, "the line that is held", g.holding)
	s.shutdown()
	eventually(b.T, "the drain", s.Draining)
	g.open()
	testutil.Await(b.T, "the end", s.served)
	if next.Load() > 0 {
		b.find("the client's next line was taken during the drain")
	}
}

func checkCounter(b *bench) {
	s := b.start(options{}, nil)
	one := s.dial()
	exchange(b.T, one, "a\n")
	held := s.ln.hold(1)
	two := s.dial()
	testutil.Await(b.T, "the accept", held.entered)
	one.Close() // it leaves while the other one is being counted
	eventually(b.T, "the first client's end", func() bool { return s.Active() == 0 })
	close(held.leave)
	exchange(b.T, two, "a\n")
	two.Close()
	if !soon(b.window(time.Second), func() bool { return s.Active() == 0 }) {
		b.find("%d clients counted when all have left", s.Active())
	}
}

func checkBound(b *bench) {
	s := b.start(options{}, nil)
	conn := s.dial()
	complained := make(chan struct{})
	go func() {
		defer close(complained)
		conn.Read(make([]byte, 1)) // an answer, or the end
	}()
	defer func() {
		conn.Close()
		<-complained
	}()
	part := []byte(strings.Repeat("x", 64<<10))
	for range 128 { // 8 MiB: enough for a line
		if _, err := conn.Write(part); err != nil {
			return
		}
	}
	if !receivedSoon(complained, b.window(time.Second)) {
		b.find("8 MiB without a line end are taken without a word")
	}
}

func checkLimits(b *bench) {
	s := b.start(options{maxClients: 1}, nil)
	exchange(b.T, s.dial(), "a\n")
	second := s.dial()
	send(b.T, second, "b\n")
	if !silent(second, 300*time.Millisecond) {
		b.find("a second client is served, the limit is 1")
	}
	s = b.start(options{idleTimeout: 100 * time.Millisecond}, nil)
	if silent(s.dial(), b.window(2*time.Second)) {
		b.find("a client that is idle for 2 s stays, the limit is 100 ms")
	}
}

func checkSignals(b *bench) {
	needSignal(b.T, syscall.SIGHUP)
	hold := func() (*child, net.Conn) {
		c := startChild(b.T, childSpec{Server: b.server, DrainTimeout: patience})
		conn := c.dial()
		send(b.T, conn, "hold\n")
		c.wait("holding")
		return c, conn
	}
	c, conn := hold()
	c.signal(syscall.SIGHUP)
	receivedSoon(c.exited, 300*time.Millisecond)
	c.release()
	if got, err := io.ReadAll(conn); string(got) != "hold\n" {
		b.find("SIGHUP: a client that waits for its answer gets %q, %v", got, err)
	}

	c, _ = hold()
	c.signal(syscall.SIGTERM)
	c.signal(syscall.SIGINT)
	if !receivedSoon(c.exited, b.window(2*time.Second)) {
		b.find("the process lives 2 s after a second signal")
	}
}

func checkPinned(b *bench) {
	s := b.start(options{writeTimeout: 300 * time.Millisecond}, nil)
	conn := s.dial()
	lines := []byte(strings.Repeat(strings.Repeat("x", 63)+"\n", 1000))
	conn.SetWriteDeadline(time.Now().Add(b.window(4 * time.Second)))
	for {
		_, err := conn.Write(lines) // and never read
		if errors.Is(err, os.ErrDeadlineExceeded) {
			b.find("a client that does not read is still there after 3 s, the write timeout is 300 ms")
		}
		if err != nil {
			return
		}
	}
}

func checkWriteErrors(b *bench) {
	const lines = 50
	began := make(chan struct{}, lines)
	var served atomic.Int32
	s := b.start(options{work: func(string) {
		began <- struct{}{}
		time.Sleep(20 * time.Millisecond) // what a line costs
		served.Add(1)
	}}, nil)
	conn := s.dial()
	send(b.T, conn, strings.Repeat("a\n", lines))
	testutil.Await(b.T, "the first line", began)
	reset(b.T, conn)
	eventually(b.T, "the client's end", func() bool { return s.ln.closed(0) || served.Load() == lines })
	if n := served.Load(); n > lines/2 {
		b.find("%d of %d lines were served for a client that was gone after the first", n, lines)
	}
}

func checkPanic(b *bench) {
	c := startChild(b.T, childSpec{Server: b.server, DrainTimeout: patience})
	conn := c.dial()
	send(b.T, conn, "panic\n")
	io.ReadAll(conn)
	if receivedSoon(c.exited, 300*time.Millisecond) {
		b.find("no process after a handler's panic: %v", c.cmd.ProcessState)
		return
	}
	exchange(b.T, c.dial(), "a\n")
}
