package handler_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// bubble starts a server for h with in-memory connections, in the synctest bubble of
// the caller.
func bubble(t *testing.T, h handler.Handler) *tcptest.Server {
	t.Helper()
	s := tcptest.NewUnstartedServer(h)
	s.Serve(tcptest.Listen())
	t.Cleanup(s.Close)
	return s
}

// A steady feed always keeps output pending. The reply to a frame, and the end of the
// client, do not wait for output that was added later.
func TestSteadyPushesStarveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := make(chan *handler.Client, 1)
		served := make(chan struct{}, 100)
		h := &handler.Frames{
			WhenSlow:   handler.SlowDrop,
			MaxPending: 2000,
			OnOpen:     func(c *handler.Client) error { opened <- c; return nil },
			OnFrame:    func(*handler.Client, []byte) error { served <- struct{}{}; return nil },
		}
		conn, ended := handle(t, h, 1000)
		c := <-opened
		var wg sync.WaitGroup
		wg.Go(func() { // 100 bytes per millisecond
			message := make([]byte, 100)
			for {
				if _, err := c.Write(message); err != nil && !errors.Is(err, handler.ErrSlowReader) {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		wg.Go(func() { // reads half of that
			p := make([]byte, 50)
			for {
				if _, err := conn.Read(p); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		time.Sleep(time.Second) // now MaxPending bytes are pending
		for range 10 {
			begin := time.Now()
			send(t, conn, "ping\n")
			select {
			case <-served:
			case <-time.After(time.Minute):
				t.Fatal("a frame was not served within a minute of pushes")
			}
			within(t, "a frame was served", time.Since(begin), 0, time.Second)
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		within(t, "drained", time.Since(begin), 0, time.Second)
		if r := ended(); r.Reason != handler.ReasonDrain {
			t.Errorf("record %+v", r)
		}
		conn.Close()
		wg.Wait()
	})
}

// countingListener counts the write calls of its connections.
type countingListener struct {
	net.Listener
	written, deadlines *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{testutil.WrappedConn{Conn: conn}, l.written, l.deadlines}, nil
}

type countingConn struct {
	testutil.WrappedConn
	written, deadlines *atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

func (c *countingConn) SetWriteDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// crypto/tls fails every Write after one that timed out, so a Write must not be
// interrupted to check for progress. Earlier code did that: it cut clients that only
// paused, or kept calling the dead connection.
func TestWriteTimeoutUnderTLS(t *testing.T) {
	t.Parallel()
	const size = 12 << 20 // more than the two sockets hold
	setUp := func(t *testing.T, timeout time.Duration) (conn net.Conn, ended *records, written, deadlines *atomic.Int64) {
		written, deadlines, ended = new(atomic.Int64), new(atomic.Int64), newRecords()
		h := &handler.Frames{
			WriteTimeout: timeout,
			OnRecord:     ended.Add,
			OnFrame: func(c *handler.Client, line []byte) error {
				_, err := c.Write(make([]byte, size))
				return err
			},
		}
		ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
		server := tcptest.NewUnstartedServer(h)
		server.Serve(tls.NewListener(countingListener{ln, written, deadlines}, &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}}))
		t.Cleanup(server.Close)
		inner := dial()
		t.Cleanup(func() { inner.Close() })
		inner.(*net.TCPConn).SetReadBuffer(256 << 10)
		inner.SetDeadline(time.Now().Add(patience))
		conn = tls.Client(inner, &tls.Config{InsecureSkipVerify: true})
		send(t, conn, "a\n")
		return conn, ended, written, deadlines
	}
	t.Run("a client that pauses stays", func(t *testing.T) {
		t.Parallel()
		conn, _, written, deadlines := setUp(t, 5*time.Second)
		receive(t, conn, "\x00")
		before := deadlines.Load()
		time.Sleep(400 * time.Millisecond) // more than a sixteenth of the timeout, much less than all of it
		if n := written.Load(); n >= size {
			t.Fatalf("all %d bytes were sent, so nothing was pending", n)
		}
		// At most one for each piece that the sockets have accepted.
		if n := deadlines.Load() - before; n > 2*size/(64<<10) {
			t.Errorf("%d write deadlines were set while the client paused", n)
		}
		receive(t, conn, strings.Repeat("\x00", size-1))
	})
	t.Run("one that stops is cut", func(t *testing.T) {
		t.Parallel()
		_, ended, _, deadlines := setUp(t, 200*time.Millisecond)
		if r := ended.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonWriteTimeout {
			t.Errorf("record %+v", r)
		}
		if n := deadlines.Load(); n > 3*size/(64<<10) {
			t.Errorf("%d write deadlines were set", n)
		}
	})
}

// Earlier, the read loop set its deadline on a connection that OnOpen had hijacked.
func TestHijackInOnOpenLeavesNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := make(chan net.Conn, 1)
		h := &handler.Frames{
			IdleTimeout:  time.Second,
			WriteTimeout: time.Second,
			OnOpen: func(c *handler.Client) error {
				conn, _, err := c.Hijack()
				taken <- conn
				return err
			},
		}
		client, ended := handle(t, h, 100)
		conn := <-taken
		if r := ended(); r.Reason != handler.ReasonHijacked {
			t.Errorf("record %+v", r)
		}
		time.AfterFunc(time.Hour, func() { io.WriteString(client, "late") })
		receive(t, conn, "late")
		time.AfterFunc(time.Hour, func() { io.Copy(io.Discard, client) })
		send(t, conn, strings.Repeat("x", 1000)) // the new owner waits for this
		conn.Close()
	})
}

// OnOpen sets Value, so All must not return a client before OnOpen has returned.
func TestRangeShowsNoClientBeforeItIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opening, gate := make(chan struct{}), make(chan struct{})
		h := &handler.Frames{OnOpen: func(c *handler.Client) error {
			close(opening)
			<-gate
			c.Value = "set"
			return nil
		}}
		values := func() (list []any) {
			for c := range h.Clients().All() {
				list = append(list, c.Value)
			}
			return list
		}
		handle(t, h, 100)
		<-opening
		if seen := values(); len(seen) != 0 {
			t.Errorf("All returned %v while OnOpen runs", seen)
		}
		close(gate)
		synctest.Wait()
		if seen := values(); len(seen) != 1 || seen[0] != "set" {
			t.Errorf("All returned %v after OnOpen, want one value", seen)
		}
	})
}

// As TestRangeShowsNoClientBeforeItIsOpen, with concurrent clients, for the race
// detector.
func TestRangeWhileClientsCome(t *testing.T) {
	h := echoFrames()
	h.OnOpen = func(c *handler.Client) error { c.Value = new(int); return nil }
	server := tcptest.NewUnstartedServer(h)
	server.Serve(tcptest.Listen())
	defer server.Close()
	stop := make(chan struct{})
	var ranging sync.WaitGroup
	ranging.Go(func() {
		for {
			for c := range h.Clients().All() {
				if c.Value == nil {
					t.Error("All returned a client without its Value")
				}
			}
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	for range 200 {
		conn := server.Dial()
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		conn.Close()
	}
	close(stop)
	ranging.Wait()
}

// A push that takes longer than the idle timeout does not end the client while bytes
// are flowing.
func TestIdleTimeoutSparesAPushThatFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20000
		opened := make(chan *handler.Client, 1)
		h := &handler.Frames{
			IdleTimeout: time.Second,
			OnOpen:      func(c *handler.Client) error { opened <- c; return nil },
		}
		conn, ended := handle(t, h, 1000)
		begin := time.Now()
		c := <-opened
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 100)
		for range size / len(p) {
			time.Sleep(50 * time.Millisecond)
			if _, err := io.ReadFull(conn, p); err != nil {
				t.Fatalf("after %v: %v", time.Since(begin), err)
			}
			if r := c.Record(); r.Reason != "" {
				t.Fatalf("after %v: record %+v", time.Since(begin), r)
			}
		}
		within(t, "the push was read", time.Since(begin), 9*time.Second, 11*time.Second)
		last := time.Now() // the last byte was sent when 1000 bytes were unread
		receiveAll(t, conn, "")
		within(t, "closed", time.Since(last), 400*time.Millisecond, 600*time.Millisecond)
		if r := ended(); r.Reason != handler.ReasonIdleTimeout || r.BytesOut != size {
			t.Errorf("record %+v", r)
		}
	})
}

// Without a write timeout, the idle timeout ends a client that accepts no output.
func TestIdleTimeoutEndsAClientThatNeverReads(t *testing.T) {
	big := make([]byte, 5000)
	for name, h := range map[string]*handler.Frames{
		"a reply": {OnFrame: func(c *handler.Client, _ []byte) error { _, err := c.Write(big); return err }},
		"a push":  {OnOpen: func(c *handler.Client) error { go c.Write(big); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h.IdleTimeout, h.WriteTimeout = time.Minute, -1
				conn, ended := handle(t, h, 1000)
				begin := time.Now()
				send(t, conn, "a\n")
				r := ended()
				within(t, "ended", time.Since(begin), time.Minute, 70*time.Second)
				if r.By != handler.ByServer || r.Reason != handler.ReasonIdleTimeout || r.BytesOut != 1000 {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// Without any timeout, Client.Close still ends a client that accepts no output, also
// while its frame function waits in Write, and on a connection whose blocked Write
// cannot be monitored.
func TestCloseEndsAClientThatNeverReads(t *testing.T) {
	replies := map[string]func(c *handler.Client) error{
		"one reply":           func(c *handler.Client) error { return second(c.Write(make([]byte, 5000))) },
		"replies without end": writeForEver,
	}
	wraps := map[string]func(net.Conn) net.Conn{
		"plain":   func(conn net.Conn) net.Conn { return conn },
		"wrapped": func(conn net.Conn) net.Conn { return &testutil.WrappedConn{Conn: conn} },
	}
	for name, wrap := range wraps {
		for what, reply := range replies {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opened, ended := make(chan *handler.Client, 1), make(chan handler.Record, 1)
					h := &handler.Frames{
						MaxPending: 5000,
						OnRecord:   func(r handler.Record) { ended <- r },
						OnOpen:     func(c *handler.Client) error { opened <- c; return nil },
						OnFrame:    func(c *handler.Client, _ []byte) error { return reply(c) },
					}
					client, server := tcptest.PipeSize(1000)
					defer client.Close()
					go h.Handle(t.Context(), wrap(server))
					send(t, client, "a\n")
					synctest.Wait() // the reply is blocked
					begin := time.Now()
					(<-opened).Close()
					select {
					case r := <-ended:
						if r.By != handler.ByServer || r.Reason != handler.ReasonClosed {
							t.Errorf("record %+v", r)
						}
					case <-time.After(time.Hour):
						t.Fatal("Close did not end the client within an hour")
					}
					within(t, "ended", time.Since(begin), 9*time.Second, 12*time.Second)
				})
			})
		}
	}
}

// writeForEver calls Write until it fails.
func writeForEver(c *handler.Client) error {
	for {
		if _, err := c.Write(make([]byte, 4<<10)); err != nil {
			return err
		}
	}
}

// delegating is a handler that wraps a Frames. It has the methods of Handler, and
// Accept.
type delegating struct{ frames *handler.Frames }

func (d delegating) Accept(a handler.Accepted)                 { d.frames.Accept(a) }
func (d delegating) Handle(ctx context.Context, conn net.Conn) { d.frames.Handle(ctx, conn) }
func (d delegating) Close() error                              { return d.frames.Close() }

// The server closes a connection that a handler has left open, but not a hijacked one:
// neither after Handle nor after a panic.
func TestHijackedConnectionStaysOpen(t *testing.T) {
	silenceLog(t)
	for name, wrap := range map[string]func(*handler.Frames) handler.Handler{
		"frames":     func(h *handler.Frames) handler.Handler { return h },
		"delegating": func(h *handler.Frames) handler.Handler { return delegating{h} },
	} {
		for _, how := range []string{"returns", "panics"} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					taken := make(chan net.Conn, 1)
					s := bubble(t, wrap(&handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
						conn, _, err := c.Hijack()
						taken <- conn
						if string(line) == "panics" {
							panic("as asked")
						}
						return err
					}}))
					client := s.Dial()
					defer client.Close()
					send(t, client, how+"\n")
					conn := <-taken
					defer conn.Close()
					synctest.Wait() // the server is done with the connection
					send(t, conn, "still here\n")
					receive(t, client, "still here\n")
					send(t, client, "here too\n")
					receive(t, conn, "here too\n")
					panics := uint64(0)
					if how == "panics" {
						panics = 1
					}
					if got := s.TCP.Stats(); got.Active != 0 || got.Panics != panics {
						t.Errorf("stats %+v", got)
					}
				})
			})
		}
	}
}

// A drain does not affect a hijacked connection, even if the function that has called
// Hijack is still running.
func TestDrainSparesAHijackedConnection(t *testing.T) {
	for name, wrap := range map[string]func(*handler.Frames) handler.Handler{
		"frames":     func(h *handler.Frames) handler.Handler { return h },
		"delegating": func(h *handler.Frames) handler.Handler { return delegating{h} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				taken, gate := make(chan net.Conn, 1), make(chan struct{})
				s := bubble(t, wrap(&handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
					conn, _, err := c.Hijack()
					taken <- conn
					<-gate
					return err
				}}))
				client := s.Dial()
				defer client.Close()
				send(t, client, "a\n")
				conn := <-taken
				defer conn.Close()
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := s.Shutdown(ctx); err != nil {
					t.Errorf("shutdown: %v", err)
				}
				within(t, "drained", time.Since(begin), 0, 100*time.Millisecond)
				if d := s.TCP.Drained(); d.Idle+d.Finished+d.Cut != 0 {
					t.Errorf("drained %+v", d)
				}
				<-ctx.Done()
				send(t, conn, "still here\n")
				receive(t, client, "still here\n")
				close(gate)
				synctest.Wait()
				send(t, conn, "and now\n")
				receive(t, client, "and now\n")
			})
		})
	}
}

// A second Shutdown cuts while the first one waits for the members that it has cut.
func TestTwoShutdownsCountACutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		h := g.frames()
		client, ended := handle(t, h, 100)
		send(t, client, "slow\n")
		<-g.began
		over, cancel := context.WithCancel(t.Context())
		cancel()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := h.Clients().Shutdown(over); !errors.Is(err, handler.ErrCut) {
					t.Errorf("shutdown: %v", err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if d := h.Drained(); d != (handler.DrainStats{Cut: 1}) {
			t.Errorf("drained %+v, want one cut", d)
		}
		if r := ended(); r.Reason != handler.ReasonCut {
			t.Errorf("record %+v", r)
		}
		close(g.gate)
	})
}

// A plain handler that continues after the FIN of its client and is then cut was ended
// by the server. If it returns by itself, the client has ended it.
func TestPlainRecordAfterFIN(t *testing.T) {
	for _, cut := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			gate := make(chan struct{})
			ended := make(chan handler.Record, 1)
			h := handler.Func(func(_ context.Context, conn net.Conn) {
				io.Copy(io.Discard, conn)
				<-gate
			})
			h.OnRecord = func(r handler.Record) { ended <- r }
			client, server := tcptest.Pipe()
			defer client.Close()
			go h.Handle(t.Context(), server)
			send(t, client, "abc")
			closeWrite(t, client)
			synctest.Wait()
			by, reason := handler.ByClient, handler.ReasonFIN
			if cut {
				over, cancel := context.WithCancel(t.Context())
				cancel()
				if err := h.Shutdown(over); !errors.Is(err, handler.ErrCut) {
					t.Errorf("shutdown: %v", err)
				}
				by, reason = handler.ByServer, handler.ReasonCut
			}
			close(gate)
			if r := <-ended; r.By != by || r.Reason != reason || r.BytesIn != 3 {
				t.Errorf("record %+v, want %s by %s", r, reason, by)
			}
		})
	}
}

// A close with unread input would make the kernel send a RST, which overtakes the last
// reply.
func TestPlainLastReplyArrives(t *testing.T) {
	for _, drain := range []bool{false, true} {
		name := "the function returns"
		if drain {
			name = "in a drain"
		}
		t.Run(name, func(t *testing.T) {
			began, gate := make(chan struct{}), make(chan struct{})
			h := handler.Func(func(_ context.Context, conn net.Conn) {
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					return
				}
				close(began) // the rest is unread
				<-gate
				io.WriteString(conn, "bye\n")
				if drain {
					if _, err := io.Copy(io.Discard, conn); !errors.Is(err, handler.ErrDraining) {
						t.Errorf("Read during a drain: %v", err)
					}
				}
			})
			ended := newRecords()
			h.OnRecord = ended.Add
			server := tcptest.NewServer(h)
			defer server.Close()
			conn := server.Dial()
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			send(t, conn, strings.Repeat("x", 1000))
			<-began
			reason := handler.ReasonClosed
			var drained chan error
			if drain {
				reason = handler.ReasonDrain
				drained = make(chan error, 1)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				idle := server.Dial()
				defer idle.Close()
				idle.SetDeadline(time.Now().Add(patience))
				go func() { drained <- server.Shutdown(ctx) }()
				receiveAll(t, idle, "") // the drain has begun
				idle.Close()
				ended.Next(t)
				h.Drained() // and every client has been told
			}
			close(gate)
			receiveAll(t, conn, "bye\n")
			conn.Close()
			if r := ended.Next(t); r.By != handler.ByServer || r.Reason != reason {
				t.Errorf("record %+v, want %s", r, reason)
			}
			if drained != nil {
				if err := <-drained; err != nil {
					t.Errorf("shutdown: %v", err)
				}
			}
		})
	}
}

// Bytes that a drain reads last, and bytes that a close discards, are counted.
func TestDrainCountsWhatItReads(t *testing.T) {
	t.Run("after a frame", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGated()
			h := g.frames()
			client, ended := handle(t, h, 2000)
			send(t, client, "slow\n")
			<-g.began
			send(t, client, strings.Repeat("x", 1000))
			go h.Shutdown(t.Context())
			synctest.Wait()
			close(g.gate)
			receiveAll(t, client, "slow\n")
			client.Close()
			if r := ended(); r.Reason != handler.ReasonDrain || r.BytesIn != 1005 || r.FramesIn != 1 {
				t.Errorf("record %+v, want 1005 bytes in", r)
			}
		})
	})
	t.Run("half a frame that has arrived", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan handler.Record, 1)
			h, gate := echoFrames(), make(chan struct{})
			h.OnOpen = func(*handler.Client) error { <-gate; return nil }
			h.OnRecord = func(r handler.Record) { ended <- r }
			client, server := tcptest.Pipe()
			send(t, client, "half")
			go h.Handle(t.Context(), server)
			synctest.Wait()
			go h.Shutdown(t.Context())
			synctest.Wait() // the drain has begun, and nothing was read yet
			close(gate)
			receiveAll(t, client, "")
			client.Close()
			if r := <-ended; r.Reason != handler.ReasonDrain || r.BytesIn != 4 || r.FramesIn != 0 {
				t.Errorf("record %+v, want 4 bytes in", r)
			}
		})
	})
}

// With SlowDrop, a greeting that is dropped in OnOpen does not end the client, as in
// OnFrame.
func TestDroppedGreetingKeepsTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		message := bytes.Repeat([]byte("m"), 100)
		taken := make(chan int, 1)
		h := &handler.Frames{
			Codec:      keepEnd,
			WhenSlow:   handler.SlowDrop,
			MaxPending: 1000,
			OnFrame:    echoLine,
			OnOpen: func(c *handler.Client) error {
				for n := 0; ; n++ {
					if _, err := c.Write(message); err != nil {
						taken <- n
						return err
					}
				}
			},
		}
		conn, ended := handle(t, h, 100)
		receive(t, conn, strings.Repeat("m", 100*<-taken))
		synctest.Wait()
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		closeWrite(t, conn)
		if r := ended(); r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.Err != nil {
			t.Errorf("record %+v", r)
		}
	})
}

// After any end of the client, the error of Write wraps ErrClosed and the cause.
func TestWriteAfterAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serving, gate := make(chan *handler.Client, 1), make(chan struct{})
		h := &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
			serving <- c
			<-gate // nothing is read meanwhile, so a Write is the first to see the reset
			return nil
		}}
		conn, ended := handle(t, h, 100)
		send(t, conn, "a\n")
		c := <-serving
		conn.Reset()
		io.WriteString(c, "lost\n")
		c.Flush()
		synctest.Wait()
		for what, err := range map[string]error{
			"Write":      second(c.Write([]byte("x"))),
			"WriteFrame": c.WriteFrame([]byte("x")),
			"Flush":      c.Flush(),
		} {
			if !errors.Is(err, handler.ErrClosed) || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s after a failed write: %v", what, err)
			}
		}
		close(gate)
		if r := ended(); r.By != handler.ByClient || r.Reason != handler.ReasonReset {
			t.Errorf("record %+v", r)
		}
	})
}

func second(_ int, err error) error { return err }

// runtime.Goexit ends the goroutine of a handler without a panic that can be recovered.
// It is recorded and counted as a panic.
func TestGoexitIsRecorded(t *testing.T) {
	silenceLog(t)
	for name, build := range map[string]func(func(handler.Record)) handler.Handler{
		"frames": func(add func(handler.Record)) handler.Handler {
			return &handler.Frames{OnRecord: add, OnFrame: func(*handler.Client, []byte) error {
				runtime.Goexit()
				return nil
			}}
		},
		"plain": func(add func(handler.Record)) handler.Handler {
			h := handler.Func(func(_ context.Context, conn net.Conn) {
				conn.Read(make([]byte, 10))
				runtime.Goexit()
			})
			h.OnRecord = add
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := newRecords()
			server := tcptest.NewServer(build(ended.Add))
			defer server.Close()
			conn := server.Dial()
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			send(t, conn, "a\n")
			receiveAll(t, conn, "")
			conn.Close()
			if r := ended.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonPanic {
				t.Errorf("record %+v", r)
			}
			server.Close()
			if n := len(ended.All); n != 0 {
				t.Errorf("%d more records", n)
			}
			if n := server.TCP.Stats().Panics; n != 1 {
				t.Errorf("%d panics counted, want 1", n)
			}
		})
	}
}
