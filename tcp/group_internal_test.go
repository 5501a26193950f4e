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
	g.member(two).ln.Close()
	net.Dial("tcp", addr) // wakes an accept that has a descriptor of its own
	if err := <-ended; err == nil || !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "service two: tcp: accept on ") || errors.Is(err, ErrCut) {
		t.Errorf("Run: %v", err)
	}
	if b, err := io.ReadAll(conn); string(b) != "hello\n" || err != nil {
		t.Errorf("the client reads %q, %v", b, err)
	}
}
