package tcp_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/lib/logger"
	"wireline/tcp"
	"wireline/tcptest"
)

// TestMain is also the main of the child processes that tests start.
func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(childMain(spec))
	}
	tcptest.Timeout = patience
	testutil.WaitInParallel(8)
	goleak.VerifyTestMain(m)
}

// echo serves lines as they come.
func echo() *handler.Frames { return echoAfter(func(string) {}) }

// echoAfter calls work with each line, its end not counted, before it comes back.
func echoAfter(work func(line string)) *handler.Frames {
	return &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
		work(string(line))
		return c.WriteFrame(line)
	}}
}

// gate holds the lines "hold" until it is opened, at the test's end at the
// latest, and tells of each.
type gate struct {
	holding chan struct{}
	opened  chan struct{}
	open    func()
}

func newGate(t *testing.T) *gate {
	g := &gate{holding: make(chan struct{}, 1000), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(g.open)
	return g
}

func (g *gate) work(line string) {
	if line == "hold" {
		g.holding <- struct{}{}
		<-g.opened
	}
}

// start starts a server with cfg for h on the loopback interface. It is closed
// at the test's end.
func start(t *testing.T, cfg tcp.Config, h handler.Handler) *tcptest.Server {
	t.Helper()
	s := tcptest.NewUnstartedServer(h)
	s.TCP.Config = cfg
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// serve serves ln with srv, until the test's end at the latest. The returned
// function waits for Serve's error.
func serve(ctx context.Context, t *testing.T, srv *tcp.Server, ln net.Listener) (result func() error) {
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln) }()
	t.Cleanup(func() { srv.Close() })
	return func() error { return <-served }
}

// within is a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// shutdown demands that srv stops in good order.
func shutdown(t *testing.T, srv *tcp.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// join connects in memory.
func join(t *testing.T, ln *tcptest.Listener) net.Conn {
	t.Helper()
	conn, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// What most tests consist of.
var (
	send         = tcptest.Send
	receive      = tcptest.Receive
	receiveAll   = tcptest.ReceiveAll
	receiveReset = tcptest.ReceiveReset
	dial         = testutil.Dial
	soon         = testutil.Soon
	eventually   = testutil.Eventually
	freePort     = testutil.FreePort
)

const patience = testutil.Patience

// freePorts returns n free ports.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		ports = append(ports, freePort(t))
	}
	return ports
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	return testutil.Listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
}

// exchange sends a line and demands it back.
func exchange(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	send(t, conn, line)
	receive(t, conn, line)
}

func isReset(err error) bool {
	const windowsReset = syscall.Errno(10054) // WSAECONNRESET
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, windowsReset)
}

// reset closes the client's end with a RST.
func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// silent reports whether nothing comes from conn for d.
func silent(conn net.Conn, d time.Duration) bool {
	defer conn.SetReadDeadline(time.Now().Add(patience))
	conn.SetReadDeadline(time.Now().Add(d))
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// receivedSoon waits for c, and reports whether it came within d.
func receivedSoon[T any](c <-chan T, d time.Duration) bool {
	select {
	case <-c:
		return true
	case <-time.After(d):
		return false
	}
}

// journal is a log to look at.
type journal struct {
	mu      sync.Mutex
	records []slog.Record
}

func (j *journal) logger() *slog.Logger { return slog.New(j) }

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler { return &journalWith{j, attrs} }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = append(j.records, r)
	return nil
}

// journalWith adds attributes to each record.
type journalWith struct {
	*journal
	attrs []slog.Attr
}

func (j *journalWith) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(j.attrs...)
	return j.journal.Handle(ctx, r)
}

// find returns the attributes of all records of msg that were logged before.
func (j *journal) find(msg string) (found []map[string]string) {
	logger.Flush(patience)
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.records {
		if r.Message != msg {
			continue
		}
		attrs := map[string]string{"level": r.Level.String()}
		r.Attrs(func(a slog.Attr) bool {
			attrs[a.Key] = a.Value.String()
			return true
		})
		found = append(found, attrs)
	}
	return found
}

// greeting writes a line to each client that is let in, then echoes.
func greeting() *handler.Frames {
	h := echo()
	h.Codec = frame.Line{}
	h.OnOpen = func(c *handler.Client) error { return c.WriteFrame([]byte("welcome")) }
	return h
}

// raw is a handler that is given the connections as they are.
type raw func(conn net.Conn)

func (h raw) Handle(_ context.Context, conn net.Conn) { h(conn) }

func (h raw) Close() error { return nil }
