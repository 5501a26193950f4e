package handler_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// overSockets runs test over real sockets, on event loops and with a goroutine per
// connection. serve starts a server for a handler. Without networks, it uses TCP and
// unix sockets. The runs are parallel, because most of them wait.
func overSockets(t *testing.T, test func(t *testing.T, serve func(*handler.Frames) *served), networks ...string) {
	var runs sync.WaitGroup
	defer runs.Wait()
	for _, transport := range transports {
		network, way, _ := strings.Cut(transport.name, " ")
		if network != "tcp" && network != "unix" || way != "" && way != "by goroutine" ||
			len(networks) > 0 && !slices.Contains(networks, network) {
			continue
		}
		runs.Go(func() {
			t.Run(transport.name, func(t *testing.T) {
				test(t, func(h *handler.Frames) *served {
					s := &served{t: t, records: newRecords()}
					h.OnRecord = s.records.Add
					ln, dial := transport.listen(t)
					s.dial = dial
					s.server = tcptest.NewUnstartedServer(h)
					s.server.Serve(ln)
					t.Cleanup(s.server.Close)
					return s
				})
			})
		})
	}
}

// opens makes h report each new client.
func opens(h *handler.Frames) <-chan *handler.Client {
	opened := make(chan *handler.Client, 1<<12)
	h.OnOpen = func(c *handler.Client) error { opened <- c; return nil }
	return opened
}

// meets returns a function that connects a client and returns both of its ends. It may be called by
// several goroutines.
func meets(opened <-chan *handler.Client, dial func() net.Conn) func() (net.Conn, *handler.Client) {
	var mu sync.Mutex
	return func() (net.Conn, *handler.Client) {
		mu.Lock()
		defer mu.Unlock()
		conn := dial()
		return conn, <-opened
	}
}

// expectSilence checks that nothing arrives from conn for a moment.
func expectSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(25 * time.Millisecond))
	defer conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, 100)
	if n, err := conn.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %q, %v; want nothing", clip(got[:n]), err)
	}
}

// pausing pauses at the line "pause", in OnFrame, and answers each line with the line
// itself.
func pausing() *handler.Frames {
	return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
		if string(line) == "pause\n" {
			c.Pause()
		}
		return echoLine(c, line)
	}}
}

// overAll is overTransports with a client that is already connected.
func overAll(t *testing.T, build func() *handler.Frames, test func(t *testing.T, s *served, conn net.Conn, c *handler.Client)) {
	var opened <-chan *handler.Client
	overTransports(t, func() *handler.Frames {
		h := build()
		opened = opens(h)
		return h
	}, func(t *testing.T, s *served) {
		conn := s.connect()
		test(t, s, conn, <-opened)
	})
}

func TestPauseInOnFrame(t *testing.T) {
	t.Parallel()
	overAll(t, pausing, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		send(t, conn, "a\npause\nb\nc\n") // b and c are in the buffer, or not read yet
		receive(t, conn, "a\npause\n")
		expectSilence(t, conn)
		send(t, conn, "d\n")
		expectSilence(t, conn)
		c.Resume()
		receive(t, conn, "b\nc\nd\n")
		closeWrite(t, conn)
		receiveAll(t, conn, "")
		if r := s.records.Next(t); r.Reason != handler.ReasonFIN || r.FramesIn != 5 {
			t.Errorf("record %+v", r)
		}
	})
}

// Pause is called while the server waits for input. Input that arrives then is not
// served either.
func TestPauseFromAnotherGoroutine(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overAll(t, echoFrames, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		for range 2 { // before the first byte, and after a frame
			c.Pause()
			send(t, conn, "a\n")
			expectSilence(t, conn)
			send(t, conn, "b")
			c.Resume()
			receive(t, conn, "a\n")
			send(t, conn, "\n")
			receive(t, conn, "b\n")
		}
	})
}

func TestPauseInOnOpen(t *testing.T) {
	t.Parallel()
	opened := make(chan *handler.Client, 1)
	build := func() *handler.Frames {
		h := echoFrames()
		h.OnOpen = func(c *handler.Client) error {
			c.Pause()
			opened <- c
			return nil
		}
		return h
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\nb\n")
		c := <-opened
		expectSilence(t, conn)
		c.Resume()
		receive(t, conn, "a\nb\n")
	})
}

// One Resume ends several pauses, and a Resume without a pause has no effect.
func TestPausesDoNotNest(t *testing.T) {
	t.Parallel()
	overAll(t, pausing, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		c.Resume()
		c.Resume()
		send(t, conn, "pause\na\n")
		receive(t, conn, "pause\n")
		expectSilence(t, conn)
		c.Pause()
		c.Pause()
		c.Resume()
		receive(t, conn, "a\n")
		c.Pause()
		c.Resume()
		send(t, conn, "b\n")
		receive(t, conn, "b\n")
	})
}

func TestPauseAndResumeInOneFrame(t *testing.T) {
	build := func() *handler.Frames {
		return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			c.Pause()
			c.Resume()
			return echoLine(c, line)
		}}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		lines := strings.Repeat("a\nbc\n", 100)
		send(t, conn, lines)
		receive(t, conn, lines)
		closeWrite(t, conn)
		receiveAll(t, conn, "")
	})
}

// Pauses at random times lose no frame and keep the order.
func TestPausesWhileAClientSends(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	const lines, between = 5000, 20 // the next pause begins this many lines later
	var begun atomic.Int64
	some := make(chan struct{}, 1) // lines were served
	build := func() *handler.Frames {
		begun.Store(0)
		return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			if begun.Add(1)%between == 0 {
				select {
				case some <- struct{}{}:
				default:
				}
			}
			return echoLine(c, line)
		}}
	}
	overAll(t, build, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		var all strings.Builder
		for i := range lines {
			fmt.Fprintf(&all, "line %d %s\n", i, strings.Repeat("x", i%50))
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			io.WriteString(conn, all.String())
			netconn.CloseWrite(conn)
		})
		wg.Go(func() {
			for {
				c.Pause()
				before := begun.Load()
				for range 100 {
					runtime.Gosched()
				}
				// One frame may have been about to begin.
				if n := begun.Load() - before; n > 1 {
					t.Errorf("%d frames were served during a pause", n)
				}
				c.Resume()
				select {
				case <-stop:
					return
				case <-some:
				}
			}
		})
		defer close(stop)
		receiveAll(t, conn, all.String())
	})
}

// A client that is not read from cannot send without limit. It continues where it
// stopped.
func TestPauseBlocksTheSender(t *testing.T) {
	testutil.Long(t)
	// More than the buffers of both ends take, which Linux lets grow to 10 MiB.
	const lines, size = 1 << 10, 16 << 10
	padding := strings.Repeat("0", size-9)
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		line := func(i int) string { return fmt.Sprintf("%s%08d", padding, i) }
		next := 0
		h := &handler.Frames{OnFrame: func(c *handler.Client, got []byte) error {
			if string(got) != line(next) {
				return fmt.Errorf("line %d is %s", next, clip(got[size-20:]))
			}
			next++
			return nil
		}}
		opened := opens(h)
		s := serve(h)
		conn := s.connect()
		c := <-opened
		c.Pause()
		var sent atomic.Int64
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for i := range lines {
				if _, err := io.WriteString(conn, line(i)+"\n"); err != nil {
					t.Errorf("line %d: %v", i, err)
					break
				}
				sent.Add(1)
			}
			netconn.CloseWrite(conn)
		})
		// The sender is blocked when it has made no progress for a while.
		for before := int64(-1); before != sent.Load(); {
			before = sent.Load()
			time.Sleep(100 * time.Millisecond)
		}
		if n := sent.Load(); n == lines {
			t.Fatalf("a paused client could send all %d lines", n)
		}
		if r := c.Record(); r.FramesIn != 0 {
			t.Errorf("record during the pause: %+v", r)
		}
		s.records.None(t)
		c.Resume()
		if r := s.records.Next(t); r.Reason != handler.ReasonFIN || r.FramesIn != lines || r.BytesIn != lines*size {
			t.Errorf("record %+v", r)
		}
	})
}

// Read timeouts do not run during a pause.
func TestPauseOutlastsTimeouts(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	tests := []struct{ name, sent, before, rest, after string }{
		{"silent", "", "", "a\n", "a\n"},
		{"partial frame", "pause\nb", "pause\n", "c\n", "bc\n"},
		{"a frame", "pause\nb\n", "pause\n", "", "b\n"},
		{"a frame and a partial frame", "pause\nb\nc", "pause\n", "d\n", "b\ncd\n"},
	}
	run := func(t *testing.T, dial func(*handler.Frames) net.Conn) {
		h := pausing()
		h.IdleTimeout, h.FrameTimeout = limit, limit
		h.OnError = func(c *handler.Client, err error) { fmt.Fprintln(c, "silent") }
		opened := opens(h)
		var conns []net.Conn
		var clients []*handler.Client
		for _, test := range tests {
			conn := dial(h)
			c := <-opened
			if test.sent == "" {
				c.Pause()
			}
			send(t, conn, test.sent)
			receive(t, conn, test.before)
			conns, clients = append(conns, conn), append(clients, c)
		}
		time.Sleep(2*limit + limit/2) // the test needs this delay
		begin := time.Now()
		for i, test := range tests {
			if r := clients[i].Record(); r.Reason != "" {
				t.Errorf("%s: ended during the pause: %+v", test.name, r)
				continue
			}
			clients[i].Resume()
			send(t, conns[i], test.rest)
			receive(t, conns[i], test.after)
		}
		for _, conn := range conns { // the timeouts run again
			got, err := io.ReadAll(conn)
			if string(got) != "silent\n" || err != nil {
				t.Errorf("after the pause: %q, %v", got, err)
			}
		}
		within(t, "closed", time.Since(begin), limit, limit+slack)
	}
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		var s *served
		run(t, func(h *handler.Frames) net.Conn {
			if s == nil {
				s = serve(h)
			}
			return s.connect()
		})
	}, "tcp")
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			run(t, func(h *handler.Frames) net.Conn {
				client, server := tcptest.PipeSize(100)
				go h.Handle(t.Context(), server)
				t.Cleanup(func() { client.Close() })
				synctest.Wait()
				return client
			})
		})
	})
}

// Timeouts restart after a pause, even if the pause was shorter than the timeout, or
// ends exactly when the timeout would have expired.
func TestTimeoutsRestartAfterAPause(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	run := func(t *testing.T, slack time.Duration, serve func(*handler.Frames) (dial func() net.Conn)) {
		var clients sync.WaitGroup
		defer clients.Wait()
		for what, h := range map[string]*handler.Frames{
			"idle":          {Codec: keepEnd, OnFrame: echoLine, IdleTimeout: limit},
			"partial frame": {FrameTimeout: limit},
		} {
			h.OnError = func(c *handler.Client, err error) { fmt.Fprintln(c, "too slow") }
			meet := meets(opens(h), serve(h))
			// pause pauses a client for d, and then sends rest.
			pause := func(d time.Duration, rest ...string) {
				clients.Go(func() {
					punctually(t, fmt.Sprintf("%s, paused for %v", what, d), func() error {
						begin := time.Now()
						conn, c := meet()
						err := echoes(conn, "x", "")
						if err == nil && h.FrameTimeout == 0 {
							err = echoes(conn, "\n", "x\n")
						}
						time.Sleep(limit / 10) // the test needs its delays
						c.Pause()
						if took := time.Since(begin); took >= limit {
							return fmt.Errorf("%w: paused after %v", testutil.ErrLate, took)
						}
						time.Sleep(d - limit/10)
						resumed := time.Now()
						c.Resume()
						for _, text := range rest {
							time.Sleep(limit / 4)
							io.WriteString(conn, text)
						}
						err = cmp.Or(err, endsWith(conn, "too slow\n"))
						return cmp.Or(err, outside("closed", time.Since(resumed), limit, limit+slack))
					})
				})
			}
			pause(limit * 7 / 10)
			for i := range 40 { // timers of the loops fire up to 20 ms late
				pause(limit + time.Duration(i)*time.Millisecond)
			}
			if h.FrameTimeout > 0 {
				pause(limit*7/10, "more", "of", "it")
			}
		}
	}
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		run(t, slack, func(h *handler.Frames) func() net.Conn { return serve(h).connect })
	}, "tcp")
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			run(t, 0, func(h *handler.Frames) func() net.Conn {
				return func() net.Conn {
					client, server := tcptest.PipeSize(100)
					go h.Handle(t.Context(), server)
					t.Cleanup(func() { client.Close() })
					return client
				}
			})
		})
	})
}

func TestDrainOfAPausedClient(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for name, text := range map[string]string{
		"frames in the buffer": "pause\nb\nc\n",
		"partial frame":        "pause\nb",
		"nothing":              "pause\n",
	} {
		t.Run(name, func(t *testing.T) {
			overAll(t, pausing, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
				send(t, conn, text)
				receive(t, conn, "pause\n")
				waitForBusy(t, s.server.TCP.Handler.(*handler.Frames).Clients(), 0)
				done := make(chan error, 1)
				go func() { done <- s.shutdown(patience) }()
				receiveAll(t, conn, "") // no further frame
				conn.Close()
				if err := <-done; err != nil {
					t.Errorf("shutdown: %v", err)
				}
				if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonDrain || r.FramesIn != 1 {
					t.Errorf("record %+v", r)
				}
				if d := s.server.TCP.Drained(); d.Idle != 1 || d.Cut != 0 {
					t.Errorf("drained %+v", d)
				}
			})
		})
	}
}

func TestCloseOfAPausedClient(t *testing.T) {
	overAll(t, pausing, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		send(t, conn, "pause\nb\nc")
		receive(t, conn, "pause\n")
		io.WriteString(c, "last words\n")
		c.Close()
		receiveAll(t, conn, "last words\n")
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonClosed || r.FramesIn != 1 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestCutOfAPausedClient(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		s := serve(pausing())
		conn := s.connect()
		send(t, conn, "pause\nb\n")
		receive(t, conn, "pause\n")
		over, cancel := context.WithCancel(t.Context())
		cancel()
		s.server.Shutdown(over)
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonCut && r.Reason != handler.ReasonDrain || r.FramesIn != 1 {
			t.Errorf("record %+v", r)
		}
		if n := s.server.TCP.Stats().Active; n != 0 {
			t.Errorf("%d clients are left", n)
		}
	})
}

// Input before a FIN is served after the pause, and then the FIN is noticed.
func TestFINInAPause(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	for _, text := range []string{"pause\nb\nlast", "pause\n", "pause\nb\n"} {
		overAll(t, pausing, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
			send(t, conn, text)
			receive(t, conn, "pause\n")
			closeWrite(t, conn)
			expectSilence(t, conn)
			s.records.None(t)
			c.Resume()
			receiveAll(t, conn, strings.TrimPrefix(text, "pause\n"))
			if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.BytesIn != int64(len(text)) {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestResetInAPause(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := pausing()
		opened := opens(h)
		s := serve(h)
		other, conn := s.connect(), s.connect()
		a, b := <-opened, <-opened
		send(t, conn, "pause\nb\n")
		receive(t, conn, "pause\n")
		netconn.Reset(conn)
		send(t, other, "pause\na\n")
		receive(t, other, "pause\n")
		expectSilence(t, other)
		s.records.None(t)
		a.Resume()
		b.Resume()
		if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset {
			t.Errorf("record %+v", r)
		}
		receive(t, other, "a\n")
	})
}

// Output to a paused client is sent.
func TestWriteToAPausedClient(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overAll(t, pausing, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		send(t, conn, "pause\nb\n")
		receive(t, conn, "pause\n")
		news := strings.Repeat("news\n", 1<<19) // more than the sockets hold at once
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.WriteFrame([]byte(news[:5])); err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(c, news[5:]); err != nil {
				t.Error(err)
			}
		})
		receive(t, conn, news)
		wg.Wait()
		expectSilence(t, conn)
		c.Resume()
		receive(t, conn, "b\n")
	})
}

// A handler with a limited queue pauses the client when the queue is full. The
// goroutine that empties the queue resumes it.
func TestPauseBoundsAQueue(t *testing.T) {
	const lines, room = 20000, 16
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		queue := make(chan string, room)
		h := &handler.Frames{Codec: frame.Line{}, OnFrame: func(c *handler.Client, line []byte) error {
			select {
			case queue <- string(line):
			default:
				return errors.New("the queue ran over")
			}
			if len(queue) == room {
				c.Pause()
				if len(queue) < room { // it was emptied in the meantime
					c.Resume()
				}
			}
			return nil
		}}
		opened := opens(h)
		s := serve(h)
		conn := s.connect()
		c := <-opened
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			var all strings.Builder
			for i := range lines {
				fmt.Fprintln(&all, i)
			}
			io.WriteString(conn, all.String())
		})
		for i := range lines {
			select {
			case line := <-queue:
				if line != fmt.Sprint(i) {
					t.Fatalf("line %d is %q", i, line)
				}
			case <-time.After(patience):
				s.records.None(t)
				t.Fatalf("line %d does not arrive", i)
			}
			if len(queue) == 0 {
				c.Resume()
			}
		}
	}, "tcp")
}
