package handler_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// later is a server whose replies come from goroutines, when the test says so.
type later struct {
	frames  *handler.Frames
	replies chan func() // writes the reply to a frame, and releases
}

func newLater(hold func(c *handler.Client, reply func())) *later {
	l := &later{replies: make(chan func(), 1000)}
	l.frames = &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
		line = bytes.Clone(line)
		hold(c, func() { c.Write(line) })
		return nil
	}}
	return l
}

// byHold and byGo are the two ways to reply later.
func byHold() *later {
	var l *later
	l = newLater(func(c *handler.Client, reply func()) {
		release := c.Hold()
		l.replies <- func() { reply(); release(); release() }
	})
	return l
}

func byGo() *later {
	var l *later
	l = newLater(func(c *handler.Client, reply func()) {
		gate := make(chan struct{})
		l.replies <- sync.OnceFunc(func() { close(gate) })
		c.Go(func(context.Context) error {
			<-gate
			reply()
			return nil
		})
	})
	return l
}

// overHolds runs test over all transports, with Hold and with Go.
func overHolds(t *testing.T, test func(t *testing.T, s *served, l *later)) {
	for name, make := range map[string]func() *later{"Hold": byHold, "Go": byGo} {
		t.Run(name, func(t *testing.T) {
			var l *later
			build := func() *handler.Frames { l = make(); return l.frames }
			overTransports(t, build, func(t *testing.T, s *served) { test(t, s, l) })
		})
	}
}

// A drain waits for replies from goroutines.
func TestDrainWaitsForHolds(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overHolds(t, func(t *testing.T, s *served, l *later) {
		conn, idle := s.connect(), s.connect()
		send(t, idle, "i\n")
		(<-l.replies)()
		receive(t, idle, "i\n")
		send(t, conn, "a\n")
		first := <-l.replies
		send(t, conn, "b\n")
		second := <-l.replies
		waitForBusy(t, l.frames.Clients(), 1)
		done := make(chan error)
		go func() { done <- s.shutdown(patience) }()
		receiveAll(t, idle, "")
		second()
		receive(t, conn, "b\n")
		first()
		receiveAll(t, conn, "a\n")
		conn.Close()
		if err := <-done; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if d := s.server.TCP.Drained(); d.Idle != 1 || d.Finished != 1 || d.Cut != 0 {
			t.Errorf("drained %+v", d)
		}
		for range 2 {
			if r := s.records.Next(t); r.Reason != handler.ReasonDrain || r.FramesIn > 2 {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// After the client's FIN, the replies that are still due are delivered, then the server's FIN.
func TestHalfCloseWaitsForHolds(t *testing.T) {
	overHolds(t, func(t *testing.T, s *served, l *later) {
		conn := s.connect()
		send(t, conn, "a\nb\n")
		first, second := <-l.replies, <-l.replies
		closeWrite(t, conn)
		second()
		receive(t, conn, "b\n")
		s.records.None(t)
		first()
		receiveAll(t, conn, "a\n")
		if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.FramesOut != 2 {
			t.Errorf("record %+v", r)
		}
	})
}

// The drain's timeout cuts a client that is held.
func TestDrainCutsHeldClient(t *testing.T) {
	testutil.Long(t)
	overHolds(t, func(t *testing.T, s *served, l *later) {
		conn := s.connect()
		send(t, conn, "a\n")
		reply := <-l.replies
		defer reply()
		if err := s.shutdown(100 * time.Millisecond); !errors.Is(err, handler.ErrCut) {
			t.Errorf("shutdown: %v", err)
		}
		if r := s.records.Next(t); r.Reason != handler.ReasonCut {
			t.Errorf("record %+v", r)
		}
	})
}

// Beyond MaxInFlight a client is not read from; others are.
func TestMaxInFlight(t *testing.T) {
	var l *later
	build := func() *handler.Frames { l = byGo(); l.frames.MaxInFlight = 2; return l.frames }
	overTransports(t, build, func(t *testing.T, s *served) {
		conn, other := s.connect(), s.connect()
		send(t, conn, "a\nb\nc\nd\n")
		a, b := <-l.replies, <-l.replies
		send(t, other, "x\n")
		(<-l.replies)() // of other: c has not begun
		receive(t, other, "x\n")
		if n := len(l.replies); n != 0 {
			t.Fatalf("%d more frames have begun", n)
		}
		b()
		receive(t, conn, "b\n")
		c := <-l.replies
		c()
		receive(t, conn, "c\n")
		d := <-l.replies
		closeWrite(t, conn)
		a()
		receive(t, conn, "a\n")
		d()
		receiveAll(t, conn, "d\n")
	})
}

// What ends OnFrame's client ends Go's as well.
func TestGoEndsClient(t *testing.T) {
	silenceLog(t)
	broken := errors.New("broken")
	for line, test := range map[string]struct {
		f      func() error
		reason handler.Reason
		err    error
	}{
		"quit\n":  {func() error { return handler.ErrQuit }, handler.ReasonClosed, nil},
		"err\n":   {func() error { return broken }, handler.ReasonHandlerError, broken},
		"panic\n": {func() error { panic("test") }, handler.ReasonPanic, nil},
	} {
		t.Run(strings.TrimSpace(line), func(t *testing.T) {
			build := func() *handler.Frames {
				return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
					text := string(line)
					c.Go(func(context.Context) error {
						io.WriteString(c, text)
						return test.f()
					})
					return nil
				}}
			}
			overTransports(t, build, func(t *testing.T, s *served) {
				conn := s.connect()
				send(t, conn, line)
				receiveAll(t, conn, line)
				conn.Close()
				if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != test.reason || !errors.Is(r.Err, test.err) {
					t.Errorf("record %+v", r)
				}
				want := uint64(0)
				if test.reason == handler.ReasonPanic {
					want = 1
				}
				if n := s.server.TCP.Stats().Panics; n != want {
					t.Errorf("%d panics were counted, want %d", n, want)
				}
			})
		})
	}
}

// A client is not idle while a reply is due. After it, IdleTimeout begins again.
func TestHoldSuspendsIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := byHold()
		l.frames.IdleTimeout = time.Minute
		conn, ended := handle(t, l.frames, 100)
		send(t, conn, "a\n")
		reply := <-l.replies
		time.Sleep(time.Hour)
		reply()
		receive(t, conn, "a\n")
		begin := time.Now()
		receiveAll(t, conn, "")
		within(t, "ended", time.Since(begin), time.Minute, time.Minute+time.Second)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonIdleTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// A hold that stops the reading is like a pause: FrameTimeout begins again after it.
func TestMaxInFlightSuspendsFrameTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := byHold()
		l.frames.FrameTimeout, l.frames.MaxInFlight = time.Minute, 1
		conn, ended := handle(t, l.frames, 100)
		send(t, conn, "a\nb")
		reply := <-l.replies
		time.Sleep(time.Hour)
		reply()
		receive(t, conn, "a\n")
		time.Sleep(50 * time.Second)
		send(t, conn, "\n")
		(<-l.replies)()
		receive(t, conn, "b\n")
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonFIN || r.FramesIn != 2 {
			t.Errorf("record %+v", r)
		}
	})
}

// A partial frame does not keep the timer of a held client in a drain busy.
func TestDrainOfHeldClientWithPartialFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := byHold()
		l.frames.FrameTimeout = time.Second
		conn, ended := handle(t, l.frames, 100)
		send(t, conn, "a\nb")
		reply := <-l.replies
		time.AfterFunc(time.Hour, reply)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		go l.frames.Shutdown(ctx)
		receiveAll(t, conn, "a\n")
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonDrain {
			t.Errorf("record %+v", r)
		}
		synctest.Wait()
	})
}

// No reply is lost in a drain, whenever it begins: each frame that OnFrame has got is
// answered, and each frame of which the client knows that it was read.
func TestDrainsWithRepliesInFlight(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	drains := 2000 // with 10,000, too, none was lost
	switch {
	case testutil.RaceEnabled:
		drains = 200
	case testutil.Reduced():
		drains = 500
	}
	drains = testutil.Rounds(drains)
	for name, listen := range map[string]func(t *testing.T) (net.Listener, func() net.Conn){
		"tcp":              transports[0].listen,
		"tcp by goroutine": transports[2].listen,
	} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			var n atomic.Int64
			for range 8 { // a drain mostly waits
				all.Go(func() {
					for i := n.Add(1); i <= int64(drains/2) && !t.Failed(); i = n.Add(1) {
						drainWithReplies(t, listen, i)
					}
				})
			}
			all.Wait()
		})
	}
}

// drainWithReplies shuts a server down while clients wait for replies.
func drainWithReplies(t *testing.T, listen func(t *testing.T) (net.Listener, func() net.Conn), n int64) {
	const clients, lines = 2, 4
	var begun, lost atomic.Int64
	ran := make(chan struct{}, clients*lines)
	h := &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
		begun.Add(1)
		ran <- struct{}{}
		line = bytes.Clone(line)
		delay := time.Duration(rand.IntN(1000)) * time.Microsecond
		c.Go(func(context.Context) error {
			time.Sleep(delay)
			if _, err := c.Write(line); err != nil {
				lost.Add(1)
			}
			return nil
		})
		return nil
	}}
	ln, dial := listen(t)
	s := tcptest.NewUnstartedServer(h)
	s.Serve(ln)
	defer s.Close()
	var all sync.WaitGroup
	var answered atomic.Int64
	for range clients {
		conn := dial()
		conn.SetDeadline(time.Now().Add(patience))
		defer conn.Close()
		send(t, conn, strings.Repeat("x\n", 1+rand.IntN(lines)))
		all.Go(func() {
			got, err := io.ReadAll(conn)
			answered.Add(int64(len(got) / 2))
			if err != nil {
				t.Errorf("drain %d: %v", n, err)
			}
		})
	}
	for range rand.IntN(clients) + 1 {
		<-ran
	}
	time.Sleep(time.Duration(rand.IntN(800)) * time.Microsecond)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("drain %d: %v", n, err)
	}
	all.Wait()
	if b, a := begun.Load(), answered.Load(); a != b || lost.Load() > 0 {
		t.Errorf("drain %d: %d frames have begun, %d were answered, %d writes failed", n, b, a, lost.Load())
	}
}
