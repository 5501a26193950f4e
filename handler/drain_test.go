package handler_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/tcptest"
)

// gated serves a line only when the test allows it, and reports when it begins.
type gated struct {
	began chan string
	gate  chan struct{}
}

func newGated() *gated { return &gated{began: make(chan string, 100), gate: make(chan struct{})} }

func (g *gated) frames() *handler.Frames {
	return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
		if string(line) == "slow\n" {
			g.began <- string(line)
			<-g.gate
		}
		return echoLine(c, line)
	}}
}

// buildGated is for overTransportsAtOnce.
func buildGated(s *served) *handler.Frames { s.gated = newGated(); return s.gated.frames() }

// waitForBusy waits until want clients are busy. A client may stay busy for a moment
// after it has received its reply.
func waitForBusy[C interface{ Busy() bool }](t *testing.T, clients interface{ All() iter.Seq[C] }, want int) {
	t.Helper()
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		busy := 0
		for c := range clients.All() {
			if c.Busy() {
				busy++
			}
		}
		if busy == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d clients are busy, want %d", busy, want)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	overTransportsAtOnce(t, buildGated, func(t *testing.T, s *served) {
		g := s.gated
		fresh, idle, half, busy := s.connect(), s.connect(), s.connect(), s.connect()
		send(t, idle, "a\n")
		receive(t, idle, "a\n")
		send(t, half, "a\nhalf a li")
		receive(t, half, "a\n")
		send(t, busy, "slow\nnot begun\n") // both lines have been read when the first one begins
		<-g.began
		waitForBusy(t, s.server.TCP.Handler.(*handler.Frames).Clients(), 1)

		done := make(chan error)
		go func() { done <- s.shutdown(patience) }()
		// Idle clients get their FIN while the busy one is still busy.
		receiveAll(t, fresh, "")
		receiveAll(t, idle, "")
		receiveAll(t, half, "")
		close(g.gate)
		receiveAll(t, busy, "slow\n")
		if err := <-done; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if d := s.server.TCP.Drained(); d.Idle != 3 || d.Finished != 1 || d.Cut != 0 {
			t.Errorf("drained %+v", d)
		}
		for range 4 {
			if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonDrain {
				t.Errorf("record %+v", r)
			}
		}
	})
}

func TestDrainIsAsSlowAsTheSlowestFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			time.Sleep(2 * time.Second)
			return echoLine(c, line)
		}}
		var ends []*tcptest.Conn
		for range 50 {
			client, server := tcptest.Pipe()
			go h.Handle(t.Context(), server)
			send(t, client, "a\nb\nc\nd\n")
			ends = append(ends, client)
		}
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		// Each client is still sending, so its close lingers for a moment.
		within(t, "drained", time.Since(begin), 2*time.Second, 3*time.Second)
		for _, conn := range ends {
			receiveAll(t, conn, "a\n")
		}
	})
}

func TestDrainCutsWhatIsLeft(t *testing.T) {
	t.Parallel()
	overTransportsAtOnce(t, buildGated, func(t *testing.T, s *served) {
		g := s.gated
		idle, busy := s.connect(), s.connect()
		send(t, busy, "slow\n")
		<-g.began
		eventually(t, "both clients", func() bool { return s.server.TCP.Stats().Accepted == 2 }) // none comes late
		done := make(chan error, 1)
		go func() { done <- s.shutdown(time.Second) }()
		receiveAll(t, idle, "")
		if busy.LocalAddr().Network() == "unix" {
			receiveAll(t, busy, "")
		} else {
			receiveReset(t, busy)
		}
		close(g.gate)
		if err := <-done; !errors.Is(err, handler.ErrCut) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if d := s.server.TCP.Drained(); d.Idle != 1 || d.Finished != 0 || d.Cut != 1 {
			t.Errorf("drained %+v", d)
		}
		s.records.Next(t)
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonCut {
			t.Errorf("record %+v", r)
		}
	})
}

// Shutdown does not wait for a handler that never returns, and the client still has a
// record.
func TestDrainLeavesAHungHandlerBehind(t *testing.T) {
	g := newGated()
	h := g.frames()
	records := newRecords()
	h.OnRecord = records.Add
	server := tcptest.NewServer(h)
	conn := server.Dial()
	defer conn.Close()
	send(t, conn, "slow\n")
	<-g.began
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, handler.ErrCut) {
		t.Errorf("shutdown: %v", err)
	}
	if r := records.Next(t); r.Reason != handler.ReasonCut {
		t.Errorf("record %+v", r)
	}
	close(g.gate)
	server.Close()
}

// A frame that had arrived when the drain began is served, although the client counts
// as idle: when the client sent it, the server did not appear to be stopping.
func TestDrainServesAFrameThatHasArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, gate := echoFrames(), make(chan struct{})
		h.OnOpen = func(*handler.Client) error { <-gate; return nil }
		var g sync.WaitGroup
		client, server := tcptest.Pipe()
		send(t, client, "arrived\nand another\n")
		g.Go(func() { h.Handle(t.Context(), server) })
		synctest.Wait()
		go h.Shutdown(t.Context())
		synctest.Wait() // the drain has begun, and nothing was read yet
		close(gate)
		receiveAll(t, client, "arrived\n")
		client.Close()
		g.Wait()
	})
}

func TestAcceptAfterTheDrainBeganCloses(t *testing.T) {
	h := echoFrames()
	h.Close()
	client, server := tcptest.Pipe()
	h.Handle(t.Context(), server)
	receiveAll(t, client, "")
	if n := h.Clients().Len(); n != 0 {
		t.Errorf("%d clients in a closed set", n)
	}
}

func TestDrainShortensALingeringClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{OnFrame: func(*handler.Client, []byte) error { return handler.ErrQuit }}
		client, ended := handle(t, h, 100)
		send(t, client, "quit\n")
		receiveAll(t, client, "") // the FIN has arrived; the client does not close
		time.Sleep(100 * time.Millisecond)
		begin := time.Now()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		within(t, "gone", time.Since(begin), 0, 500*time.Millisecond)
		if r := ended(); r.Reason != handler.ReasonClosed {
			t.Errorf("record %+v", r)
		}
	})
}

func TestLingeringCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{OnFrame: func(*handler.Client, []byte) error { return handler.ErrQuit }}
		client, ended := handle(t, h, 100)
		begin := time.Now()
		send(t, client, "quit\n")
		var flood sync.WaitGroup
		flood.Go(func() {
			for {
				time.Sleep(time.Millisecond)
				if _, err := client.Write([]byte("xxxxxxxxxxx")); err != nil {
					return
				}
			}
		})
		ended()
		within(t, "gone", time.Since(begin), 2*time.Second, 2100*time.Millisecond)
		client.Close()
		flood.Wait()
	})
}

func TestPlain(t *testing.T) {
	records := newRecords()
	h := handler.Func(func(_ context.Context, conn net.Conn) {
		io.WriteString(conn, "hello\n")
		io.Copy(conn, conn)
	})
	h.OnRecord = records.Add
	server := tcptest.NewServer(h)
	defer server.Close()
	conn := server.Dial()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	receive(t, conn, "hello\n")
	send(t, conn, "abc")
	receive(t, conn, "abc")
	closeWrite(t, conn)
	receiveAll(t, conn, "")
	r := records.Next(t)
	if r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.BytesIn != 3 || r.BytesOut != 9 {
		t.Errorf("record %+v", r)
	}
}

func TestPlainDrain(t *testing.T) {
	began, gate := make(chan struct{}), make(chan struct{})
	readErr := make(chan error, 2)
	records := newRecords()
	h := handler.Func(func(_ context.Context, conn net.Conn) {
		p := make([]byte, 100)
		for {
			conn.SetReadDeadline(time.Now().Add(time.Hour))
			n, err := conn.Read(p)
			if err != nil {
				readErr <- err
				return
			}
			if string(p[:n]) == "slow\n" {
				close(began)
				<-gate
			}
			conn.Write(p[:n])
		}
	})
	h.OnRecord = records.Add
	server := tcptest.NewServer(h)
	idle, busy := server.Dial(), server.Dial()
	defer idle.Close()
	defer busy.Close()
	send(t, idle, "a\n")
	receive(t, idle, "a\n")
	send(t, busy, "slow\n")
	<-began
	waitForBusy(t, &h.Conns, 1)
	done := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { done <- server.Shutdown(ctx) }()
	receiveAll(t, idle, "")
	close(gate)
	receiveAll(t, busy, "slow\n")
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	for range 2 {
		if err := <-readErr; !errors.Is(err, handler.ErrDraining) {
			t.Errorf("Read during a drain: %v", err)
		}
		if r := records.Next(t); r.Reason != handler.ReasonDrain {
			t.Errorf("record %+v", r)
		}
	}
	if d := server.TCP.Drained(); d.Idle != 1 || d.Finished != 1 || d.Cut != 0 {
		t.Errorf("drained %+v", d)
	}
}

func TestPlainPanicAndMissingClose(t *testing.T) {
	silenceLog(t)
	records := newRecords()
	h := handler.Func(func(_ context.Context, conn net.Conn) {
		if p := make([]byte, 1); must(conn.Read(p)) == 1 && p[0] == 'p' {
			panic("as asked")
		}
	})
	h.OnRecord = records.Add
	server := tcptest.NewServer(h)
	defer server.Close()
	for text, want := range map[string]handler.Reason{"p": handler.ReasonPanic, "x": handler.ReasonClosed} {
		conn := server.Dial()
		send(t, conn, text)
		receiveAll(t, conn, "")
		conn.Close()
		if r := records.Next(t); r.By != handler.ByServer || r.Reason != want {
			t.Errorf("record %+v, want reason %s", r, want)
		}
	}
}

func must(n int, err error) int {
	if err != nil {
		panic(err)
	}
	return n
}

// shouting is a handler as an application could write it: it embeds Conns and adds one
// method.
type shouting struct{ handler.Conns }

func (h *shouting) Handle(ctx context.Context, conn net.Conn) {
	c, err := h.Add(ctx, conn)
	if err != nil {
		return
	}
	defer c.Close()
	p := make([]byte, 100)
	for {
		n, err := c.Read(p)
		if err != nil {
			return
		}
		for i, b := range p[:n] {
			if 'a' <= b && b <= 'z' {
				p[i] = b - 'a' + 'A'
			}
		}
		if _, err := c.Write(p[:n]); err != nil {
			return
		}
	}
}

func TestHandlerWithEmbeddedConns(t *testing.T) {
	h := &shouting{}
	server := tcptest.NewServer(h)
	conn := server.Dial()
	defer conn.Close()
	send(t, conn, "abc\n")
	receive(t, conn, "ABC\n")
	for c := range h.All() {
		io.WriteString(c, "to all\n")
	}
	receive(t, conn, "to all\n")
	waitForBusy(t, &h.Conns, 0)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	receiveAll(t, conn, "")
	if d := server.TCP.Drained(); d.Idle != 1 {
		t.Errorf("drained %+v", d)
	}
}

// lateAccepted is a connection that has come while its server was stopping.
type lateAccepted struct {
	*accepted
	until time.Time
}

func (a lateAccepted) FirstInput() time.Time { return a.until }

// A client that has come late may send its first request in parts. After the reply, or the time for the
// request, a plain handler stops.
func TestPlainLatecomer(t *testing.T) {
	for name, test := range map[string]struct {
		parts []string
		reply string
		after time.Duration
	}{
		"whole":      {[]string{"hello\n"}, "hello\n", 100 * time.Millisecond},
		"in parts":   {[]string{"he", "l", "lo\n"}, "hello\n", 300 * time.Millisecond},
		"not at all": {nil, "", time.Second},
		"a part":     {[]string{"he"}, "", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				records := newRecords()
				readErr := make(chan error, 1)
				h := handler.Func(func(_ context.Context, conn net.Conn) {
					for r := bufio.NewReader(conn); ; {
						line, err := r.ReadString('\n')
						if err != nil {
							readErr <- err
							return
						}
						io.WriteString(conn, line)
					}
				})
				h.OnRecord = records.Add
				conn, server := tcptest.PipeSize(100)
				begin := time.Now()
				h.Accept(lateAccepted{&accepted{ctx: t.Context(), conn: server}, begin.Add(time.Second)})
				drained := make(chan error, 1)
				go func() { drained <- h.Close() }()
				for _, part := range test.parts {
					time.Sleep(100 * time.Millisecond)
					send(t, conn, part)
				}
				receiveAll(t, conn, test.reply)
				within(t, "ended", time.Since(begin), test.after, test.after+50*time.Millisecond)
				conn.Close()
				if err := <-drained; err != nil {
					t.Error(err)
				}
				if err := <-readErr; !errors.Is(err, handler.ErrDraining) {
					t.Errorf("the last Read: %v", err)
				}
				if r := records.Next(t); r.Reason != handler.ReasonDrain {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}
