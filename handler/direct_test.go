package handler_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/tcptest"
)

// If a handler without a server panics, the panic is logged and ends only the
// connection. Handle returns as usual.
func TestHandleRecovers(t *testing.T) {
	handlers := map[string]func(f func()) handler.Handler{
		"frames": func(f func()) handler.Handler {
			return &handler.Frames{OnFrame: func(*handler.Client, []byte) error { f(); return nil }}
		},
		"OnOpen": func(f func()) handler.Handler {
			return &handler.Frames{OnOpen: func(*handler.Client) error { f(); return nil }}
		},
		"plain": func(f func()) handler.Handler {
			return handler.Func(func(_ context.Context, conn net.Conn) {
				conn.Read(make([]byte, 10))
				f()
			})
		},
	}
	ends := map[string]struct {
		f    func()
		want []string
	}{
		"panic":  {asAsked, []string{"level=ERROR", `msg="handler panicked"`, `panic="as asked"`, "asAsked"}},
		"Goexit": {runtime.Goexit, []string{"level=ERROR", `msg="handler panicked"`, "panic=runtime.Goexit"}},
		"return": {func() {}, nil},
	}
	for name, h := range handlers {
		for what, end := range ends {
			t.Run(name+" "+what, func(t *testing.T) {
				log := defaultLog(t)
				var g sync.WaitGroup
				client, server := tcptest.Pipe()
				h := h(end.f)
				g.Go(func() { h.Handle(t.Context(), server) })
				send(t, client, "x\n")
				closeWrite(t, client)
				receiveAll(t, client, "")
				client.Close()
				g.Wait()
				logger.Flush(patience)
				text := log.String()
				if len(end.want) == 0 && text != "" {
					t.Errorf("logged %s", text)
				}
				for _, want := range end.want {
					if !strings.Contains(text, want) {
						t.Errorf("the log does not contain %s: %s", want, text)
					}
				}
			})
		}
	}
}

// A hijacked connection that is passed to a Handle counts as one of that handler, and of the server again: as
// a client, for its memory, and if it panics. The context for it is the server's, not that of the client, which
// has ended.
func TestHandleAfterHijack(t *testing.T) {
	silenceLog(t)
	inner := &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
		if err := c.Context().Err(); err != nil {
			t.Errorf("the context has ended: %v", err)
		}
		panic("as asked")
	}}
	causes, lens := make(chan error, 1), make(chan int, 1)
	var inside sync.WaitGroup
	outer := &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
		before := c.Context()
		conn, _, err := c.Hijack()
		if err != nil {
			return err
		}
		causes <- context.Cause(before)
		ctx := c.Context()
		inside.Go(func() { inner.Handle(ctx, conn) })
		return nil
	}}
	inner.OnOpen = func(*handler.Client) error { lens <- inner.Clients().Len(); return nil }
	s := tcptest.NewUnstartedServer(outer)
	s.TCP.MaxClients, s.TCP.MaxClientsPerIP, s.TCP.MaxBuffered = 1, 1, 1<<20
	s.Start()
	defer s.Close()
	conn := s.Dial()
	defer conn.Close()
	send(t, conn, "upgrade\n")
	if cause := <-causes; !errors.Is(cause, handler.ErrHijacked) || !errors.Is(cause, handler.ErrClosed) {
		t.Errorf("the cause is %v", cause)
	}
	if n := <-lens; n != 1 {
		t.Errorf("the handler has %d clients, want 1", n)
	}
	if n := s.TCP.Stats().Active; n != 1 {
		t.Errorf("%d clients are active, want 1", n)
	}
	other := s.Dial()
	defer other.Close()
	send(t, other, "upgrade\n")
	send(t, conn, strings.Repeat("x", 5000))
	eventually(t, "the server counts its input", func() bool { return s.TCP.Stats().Buffered >= 5000 })
	if n := s.TCP.Stats().Accepted; n != 1 {
		t.Errorf("%d clients were accepted, want 1", n)
	}
	send(t, conn, "\n")
	receiveAll(t, conn, "")
	conn.Close()
	<-causes // of the other client, which has the place now
	<-lens
	eventually(t, "the other client is the only one", func() bool { return s.TCP.Stats().Accepted == 2 && s.TCP.Stats().Active == 1 })
	closeWrite(t, other)
	inside.Wait()
	if n := s.TCP.Stats().Active; n != 0 {
		t.Errorf("%d clients are active, want none", n)
	}
	if n := s.TCP.Stats().Panics; n != 1 {
		t.Errorf("%d panics were counted, want 1", n)
	}
	inner.Close()
}

// A connection that was hijacked twice counts once, also where its context is passed on once more.
func TestHandleAfterTwoHijacks(t *testing.T) {
	var all sync.WaitGroup
	moved := make(chan struct{}, 2)
	// passing moves each client to another handler at its first frame.
	passing := func(to interface {
		Handle(context.Context, net.Conn)
	}) *handler.Frames {
		return &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
			conn, _, err := c.Hijack()
			if err == nil {
				ctx := c.Context()
				all.Go(func() { to.Handle(ctx, conn) })
				moved <- struct{}{}
			}
			return err
		}}
	}
	last := echoFrames()
	wrapped := handler.Func(func(ctx context.Context, conn net.Conn) { last.Handle(ctx, conn) })
	s := tcptest.NewUnstartedServer(passing(passing(wrapped)))
	s.TCP.MaxBuffered = 1 << 20
	s.Start()
	defer s.Close()
	conn := s.Dial()
	for range 2 {
		send(t, conn, "go\n")
		testutil.Await(t, "the hijack", moved)
	}
	send(t, conn, "hello\n")
	receive(t, conn, "hello\n")
	send(t, conn, strings.Repeat("x", 5000))
	eventually(t, "the server counts its input", func() bool { return s.TCP.Stats().Buffered >= 5000 })
	eventually(t, "it counts once", func() bool { return s.TCP.Stats().Active == 1 })
	conn.Close()
	all.Wait()
	if n := s.TCP.Stats().Active; n != 0 {
		t.Errorf("%d clients are active, want none", n)
	}
}

func asAsked() { panic("as asked") }

// defaultLog makes slog.Default() write to the result until the end of the test.
func defaultLog(t *testing.T) *strings.Builder {
	var text strings.Builder
	testutil.SetDefaultLog(t, slog.New(slog.NewTextHandler(&text, nil)))
	return &text
}
