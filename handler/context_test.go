package handler_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

// contexts is a server that tells the cause with which the context of a client has ended. What
// decides where it waits for that is the line that the client sends.
type contexts struct {
	frames *handler.Frames
	waits  chan *handler.Client // a function waits
	causes chan error
}

func newContexts() *contexts {
	x := &contexts{waits: make(chan *handler.Client, 10), causes: make(chan error, 10)}
	wait := func(c *handler.Client, ctx context.Context) {
		x.waits <- c
		<-ctx.Done()
		x.causes <- context.Cause(ctx)
	}
	x.frames = &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
		switch string(line) {
		case "block\n":
			wait(c, c.Context())
		case "go\n":
			c.Go(func(ctx context.Context) error { wait(c, ctx); return nil })
		case "idle\n":
			ctx := c.Context()
			go wait(c, ctx)
		case "pause\n":
			c.Pause()
			ctx := c.Context()
			go wait(c, ctx)
		}
		return nil
	}}
	return x
}

// overContexts runs test over all transports, and over the places where a function waits.
func overContexts(t *testing.T, lines []string, test func(t *testing.T, s *served, x *contexts, line string)) {
	for _, line := range lines {
		t.Run(line[:len(line)-1], func(t *testing.T) {
			var x *contexts
			build := func() *handler.Frames { x = newContexts(); return x.frames }
			overTransports(t, build, func(t *testing.T, s *served) { test(t, s, x, line) })
		})
	}
}

// reset sends a RST, where there is one.
func reset(conn net.Conn) {
	for {
		switch c := conn.(type) {
		case secured:
			conn = c.NetConn()
		case bytewise:
			conn = c.TCPConn
		default:
			netconn.Reset(conn)
			return
		}
	}
}

// A RST ends the context, also while the function waits or the client is not read.
func TestContextEndsAtReset(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("only a write tells")
	}
	overContexts(t, []string{"block\n", "go\n", "idle\n", "pause\n"}, func(t *testing.T, s *served, x *contexts, line string) {
		conn := s.connect()
		if conn.LocalAddr().Network() == "unix" {
			t.Skip("no RST")
		}
		send(t, conn, line)
		c := testutil.Await(t, "the function", x.waits)
		reset(conn)
		cause := testutil.Await(t, "the end of the context", x.causes)
		if !errors.Is(cause, handler.ErrClosed) || !netconn.IsReset(cause) {
			t.Errorf("the cause is %v", cause)
		}
		if _, err := io.WriteString(c, "x\n"); !errors.Is(err, handler.ErrClosed) {
			t.Errorf("Write after the end: %v", err)
		}
		if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset {
			t.Errorf("record %+v", r)
		}
	})
}

// A RST that came before the context was asked for is noticed as well.
func TestContextAfterReset(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("only a write tells")
	}
	var began, gate chan struct{}
	causes := make(chan error, 1)
	build := func() *handler.Frames {
		began, gate = make(chan struct{}), make(chan struct{})
		return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			close(began)
			<-gate
			ctx := c.Context()
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		}}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		if conn.LocalAddr().Network() == "unix" {
			t.Skip("no RST")
		}
		send(t, conn, "a\n")
		<-began
		reset(conn)
		close(gate)
		if cause := testutil.Await(t, "the end of the context", causes); !netconn.IsReset(cause) {
			t.Errorf("the cause is %v", cause)
		}
	})
}

// Whatever ends the client ends its context, with the reason.
func TestContextEndsWithClient(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for name, test := range map[string]struct {
		lines []string
		end   func(t *testing.T, s *served, c *handler.Client, conn net.Conn)
		want  error
		why   handler.Reason
	}{
		"Close": {[]string{"block\n", "go\n", "idle\n"}, func(t *testing.T, s *served, c *handler.Client, conn net.Conn) {
			c.Close()
		}, nil, handler.ReasonClosed},
		"CloseReset": {[]string{"block\n", "go\n"}, func(t *testing.T, s *served, c *handler.Client, conn net.Conn) {
			c.CloseWith(handler.CloseReset)
		}, nil, handler.ReasonClosed},
		"FIN": {[]string{"idle\n"}, func(t *testing.T, s *served, c *handler.Client, conn net.Conn) {
			closeWrite(t, conn)
		}, nil, handler.ReasonFIN},
		"drain": {[]string{"idle\n"}, func(t *testing.T, s *served, c *handler.Client, conn net.Conn) {
			go s.shutdown(patience)
		}, handler.ErrDraining, handler.ReasonDrain},
		"cut": {[]string{"block\n", "go\n"}, func(t *testing.T, s *served, c *handler.Client, conn net.Conn) {
			go s.shutdown(time.Millisecond)
		}, handler.ErrCut, handler.ReasonCut},
	} {
		t.Run(name, func(t *testing.T) {
			overContexts(t, test.lines, func(t *testing.T, s *served, x *contexts, line string) {
				conn := s.connect()
				send(t, conn, line)
				c := testutil.Await(t, "the function", x.waits)
				test.end(t, s, c, conn)
				cause := testutil.Await(t, "the end of the context", x.causes)
				if !errors.Is(cause, handler.ErrClosed) || test.want != nil && !errors.Is(cause, test.want) {
					t.Errorf("the cause is %v", cause)
				}
				conn.Close()
				if r := s.records.Next(t); r.Reason != test.why {
					t.Errorf("record %+v", r)
				}
				if err := c.Context().Err(); err == nil {
					t.Error("the context has not ended")
				}
			})
		})
	}
}

// A timeout ends the context, and so does a write that fails.
func TestContextEndsAtTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newContexts()
		x.frames.IdleTimeout = time.Minute
		conn, ended := handle(t, x.frames, 100)
		send(t, conn, "idle\n")
		begin := time.Now()
		cause := <-x.causes
		within(t, "ended", time.Since(begin), time.Minute, time.Minute+time.Second)
		if !errors.Is(cause, handler.ErrClosed) {
			t.Errorf("the cause is %v", cause)
		}
		conn.Close()
		ended()
	})
	synctest.Test(t, func(t *testing.T) {
		x := newContexts()
		x.frames.WriteTimeout = time.Minute
		conn, ended := handle(t, x.frames, 100)
		send(t, conn, "block\n")
		c := <-x.waits
		c.Write(make([]byte, 200))
		c.Flush()
		if r := ended(); r.Reason != handler.ReasonWriteTimeout || <-x.causes == nil {
			t.Errorf("record %+v", r)
		}
	})
}

// A context that nobody asks for does not exist, and a client that has asked for it is not asked for
// a break while it is idle.
func TestContextIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newContexts()
		conn, ended := handle(t, x.frames, 100)
		send(t, conn, "idle\n")
		c := <-x.waits
		if c.Context() != c.Context() {
			t.Error("two contexts of one client")
		}
		synctest.Wait()
		time.Sleep(time.Hour)
		conn.Close()
		if <-x.causes == nil || ended().Reason != handler.ReasonFIN {
			t.Error("the context has ended without a cause")
		}
	})
}
