package handler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/atomic"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// overBoth runs test over TCP, on event loops and with a goroutine per connection.
func overBoth(t *testing.T, build func() *handler.Frames, test func(t *testing.T, h *handler.Frames, s *served)) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"loops":      func(ln net.Listener) net.Listener { return ln },
		"goroutines": func(ln net.Listener) net.Listener { return testutil.PlainListener{Listener: ln} },
	} {
		t.Run(name, func(t *testing.T) {
			h := build()
			s := &served{t: t, records: newRecords()}
			h.OnRecord = s.records.Add
			ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
			s.dial = dial
			s.server = tcptest.NewUnstartedServer(h)
			s.server.Serve(wrap(ln))
			t.Cleanup(s.server.Close)
			test(t, h, s)
		})
	}
}

// OnClose usually panics in this case because OnFrame has not set Value.
func TestPanicInOnCloseAfterPanicInOnFrame(t *testing.T) {
	silenceLog(t)
	build := func() *handler.Frames {
		return &handler.Frames{
			OnFrame: func(*handler.Client, []byte) error { panic("in OnFrame") },
			OnClose: func(*handler.Client) { panic("in OnClose") },
		}
	}
	overBoth(t, build, func(t *testing.T, _ *handler.Frames, s *served) {
		for range 10 {
			conn := s.connect()
			send(t, conn, "a\n")
			closeWrite(t, conn)
			io.Copy(io.Discard, conn)
			if r := s.records.Next(t); r.Reason != handler.ReasonPanic {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// All includes clients that never send, as on a server that only broadcasts.
func TestRangeSeesSilentClients(t *testing.T) {
	overBoth(t, func() *handler.Frames { return new(handler.Frames) }, func(t *testing.T, h *handler.Frames, s *served) {
		conn := s.connect()
		for deadline := time.Now().Add(patience); ; runtime.Gosched() {
			reached := false
			for c := range h.Clients().All() {
				io.WriteString(c, "news\n")
				reached = true
			}
			if reached {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the client is not in the set")
			}
		}
		receive(t, conn, "news\n")
	})
}

// On a socket that keeps packet boundaries, a short read does not mean that nothing is
// left.
func TestPacketsAreAllRead(t *testing.T) {
	ln, err := net.Listen("unixpacket", t.TempDir()+"/s")
	if err != nil {
		t.Skip(err)
	}
	began, goOn := make(chan struct{}, 3), make(chan struct{})
	server := tcptest.NewUnstartedServer(&handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
		began <- struct{}{}
		<-goOn
		return c.WriteFrame(line)
	}})
	server.Serve(ln)
	defer server.Close()
	conn, err := net.Dial("unixpacket", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	send(t, conn, "a\n")
	<-began
	send(t, conn, "b\n")
	send(t, conn, "c\n")
	close(goOn)
	for _, want := range []string{"a\n", "b\n", "c\n"} {
		receive(t, conn, want)
	}
}

// A steady feed always leaves output unsent. It does not stop the client's own frames
// from being served.
func TestFeedDoesNotStarveItsReader(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	const commands = 20
	var served_ atomic.Int32
	build := func() *handler.Frames {
		served_.Store(0)
		message := []byte(strings.Repeat("f", 1023) + "\n")
		return &handler.Frames{
			WhenSlow:   handler.SlowDrop,
			MaxPending: 4 << 20,
			OnOpen: func(c *handler.Client) error {
				go func() {
					for {
						if _, err := c.Write(message); errors.Is(err, handler.ErrClosed) {
							return
						}
						runtime.Gosched()
					}
				}()
				return nil
			},
			OnFrame: func(c *handler.Client, line []byte) error {
				served_.Inc()
				return c.WriteFrame(line)
			},
		}
	}
	overBoth(t, build, func(t *testing.T, _ *handler.Frames, s *served) {
		conn := s.connect()
		conn.(*net.TCPConn).SetReadBuffer(256 << 10)
		var reader sync.WaitGroup
		defer reader.Wait()
		defer conn.Close()
		reader.Go(func() { // slowly, so that the feed is always ahead
			for buf := make([]byte, 64<<10); ; time.Sleep(time.Millisecond) {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		})
		for n := range commands {
			send(t, conn, "command\n")
			for deadline := time.Now().Add(patience); served_.Load() <= int32(n); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d frames were served", served_.Load(), commands)
				}
			}
		}
	})
}

// Hijack takes a connection over between two messages, never within one.
func TestHijackWaitsForWholeMessages(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	pushed := make(chan struct{}, 1)
	build := func() *handler.Frames {
		return &handler.Frames{MaxPending: 1 << 30, OnFrame: func(c *handler.Client, _ []byte) error {
			c.Write([]byte(strings.Repeat("a", size)))
			go func() {
				c.Write([]byte(strings.Repeat("b", size)))
				pushed <- struct{}{}
			}()
			conn, _, err := c.Hijack()
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = io.WriteString(conn, "mine")
			return err
		}}
	}
	overBoth(t, build, func(t *testing.T, _ *handler.Frames, s *served) {
		conn := s.connect()
		send(t, conn, "a\n")
		got, err := io.ReadAll(conn)
		<-pushed
		a, b := strings.Count(string(got), "a"), strings.Count(string(got), "b")
		if err != nil || a != size || b != 0 && b != size || !strings.HasSuffix(string(got), "mine") {
			t.Errorf("read %d a, %d b, %v", a, b, err)
		}
	})
}

// A drain does not wait for a function that has hijacked its connection.
func TestHijackingFunctionDoesNotDelayADrain(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	build := func() *handler.Frames {
		return &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
			conn, _, err := c.Hijack()
			if err != nil {
				return err
			}
			io.WriteString(conn, "mine\n")
			<-release
			return conn.Close()
		}}
	}
	overBoth(t, build, func(t *testing.T, _ *handler.Frames, s *served) {
		conn := s.connect()
		send(t, conn, "a\n")
		receive(t, conn, "mine\n")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
}

// A buffer that has grown for the long frame of one client is not kept for the small
// partial frame of another.
func TestLongFramesLeaveNoLargeBuffers(t *testing.T) {
	testutil.Long(t)
	const rest, most = 5 << 10, 64 << 10
	clients := int64(100)
	if testutil.Reduced() {
		clients = 50 // enough for one large buffer of the loop
	}
	build := func() *handler.Frames {
		return &handler.Frames{Codec: frame.Length{Max: 2 << 20}, OnFrame: func(c *handler.Client, _ []byte) error {
			_, err := io.WriteString(c, "k")
			return err
		}}
	}
	overBoth(t, build, func(t *testing.T, _ *handler.Frames, s *served) {
		long := make([]byte, 4+2<<20)
		long[1] = 0x20                  // 2 MiB follow
		begun := make([]byte, 4+4+rest) // an empty frame, whose reply shows that it was read
		begun[4+2] = 0x18               // 6 KiB follow
		talker := s.connect()
		before := testutil.Heap()
		for range clients {
			send(t, talker, string(long))
			receive(t, talker, "k")
			conn := s.connect()
			send(t, conn, string(begun))
			receive(t, conn, "k")
		}
		if kept := (testutil.Heap() - before) / clients; kept > most {
			t.Errorf("%d bytes are kept for a client with %d bytes of input", kept, rest)
		}
	})
}

// A partial frame is kept in a buffer of its own size, not in the one that a loop reads
// into.
func TestPartialFramesKeepNoLargeBuffers(t *testing.T) {
	const clients = 100
	for _, rest := range []int{100, 4100, 9000} {
		t.Run(fmt.Sprint(rest), func(t *testing.T) {
			h := &handler.Frames{Codec: frame.Length{Max: 2 << 20}, OnFrame: func(c *handler.Client, _ []byte) error {
				_, err := io.WriteString(c, "k")
				return err
			}}
			server := tcptest.NewServer(h)
			defer server.Close()
			begun := make([]byte, 4+4+rest) // an empty frame, whose reply shows that it was read
			begun[4+1] = 0x10               // 1 MiB follows
			conns := make([]net.Conn, clients)
			for i := range conns {
				conns[i] = server.Dial()
				defer conns[i].Close()
				conns[i].SetDeadline(time.Now().Add(patience))
				send(t, conns[i], string(begun[:4]))
				receive(t, conns[i], "k")
			}
			before := testutil.Heap()
			for _, conn := range conns {
				send(t, conn, string(begun))
				receive(t, conn, "k")
			}
			// The reply is sent before the buffer is given back.
			most := int64(rest*5/2 + 2<<10) // includes rounding by the allocator
			eventually(t, fmt.Sprintf("a client keeps no more than %d bytes", most), func() bool {
				return (testutil.Heap()-before)/clients <= most
			})
		})
	}
}

// An idle client without pending input has no buffer, also after a pause.
func TestIdleClientsHaveNoBuffer(t *testing.T) {
	const clients, rest, most = 300, 4000, 1 << 10
	opened := make(chan *handler.Client, clients)
	build := func() *handler.Frames {
		return &handler.Frames{
			OnOpen: func(c *handler.Client) error { opened <- c; return nil },
			OnFrame: func(c *handler.Client, line []byte) error {
				if string(line) == "pause" {
					c.Pause()
				}
				return c.WriteFrame(line[:1])
			},
		}
	}
	overBoth(t, build, func(t *testing.T, _ *handler.Frames, s *served) {
		conns, cs := make([]net.Conn, clients), make([]*handler.Client, clients)
		for i := range clients {
			conns[i] = s.connect()
			cs[i] = <-opened
			send(t, conns[i], "a\n")
			receive(t, conns[i], "a\n")
		}
		before := testutil.Heap()
		for _, conn := range conns {
			send(t, conn, "pause\n"+strings.Repeat("x", rest)+"\n")
			receive(t, conn, "p\n")
		}
		for i, c := range cs {
			c.Resume()
			receive(t, conns[i], "x\n")
		}
		// The reply is sent before the buffer is given back.
		eventually(t, fmt.Sprintf("a client keeps no more than %d bytes", most), func() bool {
			return (testutil.Heap()-before)/clients <= most
		})
		runtime.KeepAlive(cs)
	})
}
