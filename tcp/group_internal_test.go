package tcp

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
)

// A listener that fails stops all servers, without their grace delay; the clients finish
// what they are in.
func TestGroupListenerFails(t *testing.T) {
	h := &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) }}
	cfg := Config{Address: "127.0.0.1:0", GraceDelay: time.Hour, Log: slog.New(slog.DiscardHandler)}
	one, two := &Server{Name: "one", Config: cfg, Handler: h}, &Server{Name: "two", Config: cfg}
	g := &Group{Servers: []*Server{one, two}}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(t.Context()) }()
	for len(one.Addrs())+len(two.Addrs()) < 2 {
		time.Sleep(time.Millisecond)
	}
	conn, err := net.Dial("tcp", one.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "hello\n")
	addr := two.Addrs()[0].String()
	OwnListener(two).Close()
	net.Dial("tcp", addr) // wakes an accept that has a descriptor of its own
	if err := <-ended; err == nil || !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "service two: tcp: accept on ") || errors.Is(err, ErrCut) {
		t.Errorf("Run: %v", err)
	}
	if b, err := io.ReadAll(conn); string(b) != "hello\n" || err != nil {
		t.Errorf("the client reads %q, %v", b, err)
	}
}

// A server that stops between its line "listening" and its first accept serves the clients that
// have connected by then.
func TestStopBeforeFirstAccept(t *testing.T) {
	t.Parallel()
	s := &Server{Handler: &handler.Frames{
		OnFrame:  func(c *handler.Client, line []byte) error { return c.WriteFrame(line) },
		OnRecord: func(handler.Record) {},
	}}
	s.init()
	if err := s.setup(); err != nil {
		t.Fatal(err)
	}
	l := s.newListener(t.Context(), testutil.Listen(t, "tcp", "127.0.0.1:0"), nil)
	if err := s.register(l); err != nil {
		t.Fatal(err)
	}
	conn := testutil.Dial(t, "tcp", l.ln.Addr().String())
	io.WriteString(conn, "hello\n")
	drained := make(chan error, 1)
	go func() { drained <- s.Shutdown(t.Context()) }()
	testutil.Await(t, "the stop", s.stopped)
	if err := s.serveListener(t.Context(), l); !errors.Is(err, ErrServerClosed) {
		t.Errorf("serving: %v", err)
	}
	if b, err := io.ReadAll(conn); string(b) != "hello\n" || err != nil {
		t.Errorf("the client reads %q, %v", b, err)
	}
	if err := testutil.Await(t, "the drain", drained); err != nil {
		t.Errorf("the drain: %v", err)
	}
}
