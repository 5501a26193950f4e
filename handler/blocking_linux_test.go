package handler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// overLoopsAndGoroutines runs test over TCP, on event loops and with a goroutine per
// connection. Afterwards no goroutine and no descriptor may be left.
func overLoopsAndGoroutines(t *testing.T, build func() *handler.Frames, test func(t *testing.T, s *served)) {
	silenceLog(t)
	ln, _ := listenNet(t, "tcp", "127.0.0.1:0")
	ln.Close() // now the runtime has opened its own descriptors
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"loops":      func(ln net.Listener) net.Listener { return ln },
		"goroutines": func(ln net.Listener) net.Listener { return testutil.PlainListener{Listener: ln} },
	} {
		t.Run(name, func(t *testing.T) {
			files, goroutines := testutil.OpenFiles(t), goleak.IgnoreCurrent() // goroutines of an earlier test may still be ending
			t.Cleanup(func() {                                                 // runs after the cleanups that close things
				goleak.VerifyNone(t, goroutines)
				if n := testutil.OpenFiles(t); n > files {
					t.Errorf("%d open files before, %d after", files, n)
				}
			})
			h := build()
			s := &served{t: t, records: newRecords()}
			h.OnRecord = s.records.Add
			ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
			s.dial = dial
			s.server = tcptest.NewUnstartedServer(h)
			t.Cleanup(s.server.Close)
			s.server.Serve(wrap(ln))
			test(t, s)
		})
	}
}

// connectMany is connect for n clients.
func (s *served) connectMany(n int) (conns []net.Conn) {
	s.t.Helper()
	for range n {
		conns = append(conns, s.connect())
	}
	return conns
}

// expectServed checks that all clients are served at the same time, even if others
// block.
func expectServed(t *testing.T, clients []net.Conn) {
	t.Helper()
	var all sync.WaitGroup
	for i, conn := range clients {
		all.Go(func() {
			for n := range 10 {
				line := fmt.Sprintf("%d of client %d\n", n, i)
				got := make([]byte, len(line))
				_, err := io.WriteString(conn, line)
				if err == nil {
					_, err = io.ReadFull(conn, got)
				}
				if err != nil || string(got) != line {
					t.Errorf("client %d, round %d: read %q, %v", i, n, got, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// blocker is a frame function that blocks until it is released.
type blocker struct {
	began   chan *handler.Client
	release func()
	over    atomic.Bool // the function has returned

	block func(c *handler.Client)
}

func newBlocker() *blocker {
	b := &blocker{began: make(chan *handler.Client, 1000)}
	gate := make(chan struct{})
	b.block = func(*handler.Client) { <-gate }
	b.release = sync.OnceFunc(func() { close(gate) })
	return b
}

func (b *blocker) run(c *handler.Client) {
	b.began <- c
	b.block(c)
	b.over.Store(true)
}

// await waits until n functions block.
func (b *blocker) await(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case <-b.began:
		case <-time.After(patience):
			t.Fatalf("%d functions of %d have begun", i, n)
		}
	}
}

// frames returns an echo server. For a line that begins with "block", it first reports
// that it has begun, and blocks.
func (b *blocker) frames() *handler.Frames {
	return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
		if bytes.HasPrefix(line, []byte("block")) {
			io.WriteString(c, "begun\n")
			b.run(c)
		}
		return echoLine(c, line)
	}}
}

// A frame function may block in any way: only its own client waits. Output written
// before is sent, and the following frames are served in order afterwards.
func TestFunctionMayBlock(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T) *blocker{
		"channel": func(*testing.T) *blocker { return newBlocker() },
		"mutex": func(*testing.T) *blocker {
			b := newBlocker()
			var mu sync.Mutex
			mu.Lock()
			b.block = func(*handler.Client) { mu.Lock() }
			b.release = sync.OnceFunc(mu.Unlock)
			return b
		},
		"sleep": func(*testing.T) *blocker {
			b := newBlocker()
			var released atomic.Bool
			b.block = func(*handler.Client) {
				for !released.Load() {
					time.Sleep(50 * time.Millisecond)
				}
			}
			b.release = func() { released.Store(true) }
			return b
		},
		"processor": func(*testing.T) *blocker {
			b := newBlocker()
			var released atomic.Bool
			b.block = func(*handler.Client) {
				// The loop inside is without calls, so the scheduler can preempt it
				// anywhere. It cannot preempt code in the vDSO, which reads the clock,
				// nor that of the race detector behind each Load (asyncPreempt): a
				// garbage collection, and with it everything else, would have to wait.
				for i := 0; !released.Load() && i < 1<<16; i++ {
					for range 1 << 20 {
					}
				}
			}
			b.release = func() { released.Store(true) }
			return b
		},
		"backend": func(t *testing.T) *blocker {
			b := newBlocker()
			wait, release := b.block, b.release
			ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
			var backend sync.WaitGroup
			backend.Go(func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					backend.Go(func() {
						defer conn.Close()
						conn.Read(make([]byte, 10))
						wait(nil)
						io.WriteString(conn, "row\n")
					})
				}
			})
			b.block = func(*handler.Client) {
				conn := dial()
				defer conn.Close()
				io.WriteString(conn, "query\n")
				if row, err := io.ReadAll(conn); err != nil || string(row) != "row\n" {
					t.Errorf("the backend answered %q, %v", row, err)
				}
			}
			b.release = func() {
				release()
				ln.Close()
			}
			t.Cleanup(func() {
				b.release()
				backend.Wait()
			})
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b *blocker
			build := func() *handler.Frames { b = prepare(t); return b.frames() }
			overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
				t.Cleanup(b.release) // also when the test fails
				others := s.connectMany(50)
				conn := s.connect()
				send(t, conn, "before\nblock\n1\n2\n")
				receive(t, conn, "before\nbegun\n") // long before the function returns, as b.over shows
				send(t, conn, "3\n")
				expectServed(t, others)
				if b.over.Load() {
					t.Error("the function returned too early")
				}
				send(t, conn, "4\n")
				b.release()
				receive(t, conn, "block\n1\n2\n3\n4\n")
				send(t, conn, "5\n")
				receive(t, conn, "5\n")
				expectServed(t, append(others, conn))
			})
		})
	}
}

// A panic or runtime.Goexit after blocking ends only that connection, and output
// written before is sent.
func TestFunctionMayBlockAndFail(t *testing.T) {
	for name, fail := range map[string]func(){
		"panic":  func() { panic("as asked") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			var b *blocker
			build := func() *handler.Frames {
				b = newBlocker()
				wait := b.block
				b.block = func(c *handler.Client) { wait(c); fail() }
				return b.frames()
			}
			overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
				t.Cleanup(b.release)
				others, failing := s.connectMany(50), s.connectMany(5)
				for _, conn := range failing {
					send(t, conn, "block\nnot begun\n")
					receive(t, conn, "begun\n")
				}
				expectServed(t, others)
				b.release()
				for _, conn := range failing {
					receiveAll(t, conn, "")
					conn.Close()
				}
				expectServed(t, others)
				for range failing {
					if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonPanic || r.FramesIn != 1 {
						t.Errorf("record %+v", r)
					}
				}
				if n := s.server.TCP.Stats().Panics; n != uint64(len(failing)) {
					t.Errorf("%d panics counted, want %d", n, len(failing))
				}
			})
		})
	}
}

// A Write over MaxPending waits for its client, which may be the client of the frame
// function or another one.
func TestFunctionMayWaitInWrite(t *testing.T) {
	testutil.Long(t)
	const size = 16 << 20 // more than two sockets hold
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own %v", own), func(t *testing.T) {
			var b *blocker
			var to atomic.Pointer[handler.Client]
			build := func() *handler.Frames {
				b = newBlocker()
				b.block = func(*handler.Client) {
					p := make([]byte, 64<<10)
					for range size / len(p) {
						if _, err := to.Load().Write(p); err != nil {
							t.Errorf("write: %v", err)
						}
					}
				}
				h := b.frames()
				serve := h.OnFrame
				h.OnFrame = func(c *handler.Client, line []byte) error {
					if string(line) == "reader\n" {
						to.Store(c)
					}
					return serve(c, line)
				}
				return h
			}
			overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
				others, conn := s.connectMany(50), s.connect()
				reader := conn
				if !own {
					reader = s.connect()
				}
				send(t, reader, "reader\n")
				receive(t, reader, "reader\n")
				send(t, conn, "block\n")
				receive(t, conn, "begun\n")
				expectServed(t, others)
				if b.over.Load() {
					t.Error("Write did not wait")
				}
				reader.SetDeadline(time.Now().Add(2 * patience))
				receive(t, reader, strings.Repeat("\x00", size))
				receive(t, conn, "block\n")
				expectServed(t, append(others, conn))
			})
		})
	}
}

// A codec may take long, for replies and for pushes, also while the client's frame
// function blocks. The client can still be written to.
func TestCodecMayTakeLong(t *testing.T) {
	for name, payload := range map[string]string{"short": "slow", "long": "slow" + strings.Repeat("x", 50000)} {
		for _, what := range []string{"reply", "push"} {
			t.Run(name+" "+what, func(t *testing.T) {
				var b *blocker
				var codec slow
				var encoding chan *handler.Client
				build := func() *handler.Frames {
					b, codec, encoding = newBlocker(), newSlow(), make(chan *handler.Client, 1)
					return &handler.Frames{Codec: codec, OnFrame: func(c *handler.Client, line []byte) error {
						switch string(line) {
						case "reply":
							encoding <- c
							return c.WriteFrame([]byte(payload))
						case "push":
							go c.WriteFrame([]byte(payload))
							encoding <- c
							b.run(c)
							return nil
						case "block":
							b.run(c)
						}
						return c.WriteFrame(line)
					}}
				}
				overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
					release := sync.OnceFunc(func() { close(codec.gate) })
					t.Cleanup(release) // also when the test fails
					t.Cleanup(b.release)
					others, blocked, conn := s.connectMany(20), s.connectMany(4), s.connect()
					send(t, conn, what+"\n")
					c := <-encoding
					<-codec.began
					for _, conn := range blocked { // their loops are taken over
						send(t, conn, "block\n")
					}
					b.await(t, len(blocked))
					expectServed(t, others)
					go io.WriteString(c, "news\n")
					receive(t, conn, "news\n")
					release()
					receive(t, conn, payload+"\n")
					b.release()
					for _, conn := range blocked {
						receive(t, conn, "block\n")
					}
					expectServed(t, append(others, conn))
				})
			})
		}
	}
}

func TestOnOpenMayBlock(t *testing.T) {
	var b *blocker
	var next atomic.Bool // OnOpen of the next client blocks
	build := func() *handler.Frames {
		b = newBlocker()
		h := b.frames()
		h.OnOpen = func(c *handler.Client) error {
			if next.CompareAndSwap(true, false) {
				io.WriteString(c, "welcome\n")
				b.run(c)
			}
			return nil
		}
		return h
	}
	overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
		t.Cleanup(b.release)
		others := s.connectMany(50)
		expectServed(t, others)
		next.Store(true)
		conn := s.connect()
		b.await(t, 1)
		receive(t, conn, "welcome\n")
		send(t, conn, "1\n2\n")
		expectServed(t, append(others, s.connectMany(10)...)) // new clients too
		b.release()
		receive(t, conn, "1\n2\n")
	})
}

func TestOnCloseMayBlock(t *testing.T) {
	var b *blocker
	build := func() *handler.Frames {
		b = newBlocker()
		h := b.frames()
		h.OnFrame = func(c *handler.Client, line []byte) error {
			if string(line) == "mark\n" {
				c.Value = "blocks"
			}
			return echoLine(c, line)
		}
		h.OnClose = func(c *handler.Client) {
			if c.Value != nil {
				b.run(c)
			}
		}
		return h
	}
	overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
		t.Cleanup(b.release)
		others, ending := s.connectMany(50), s.connectMany(10)
		for _, conn := range ending {
			send(t, conn, "mark\n")
			receive(t, conn, "mark\n")
			conn.Close()
		}
		b.await(t, len(ending))
		expectServed(t, others)
		b.release()
		for range ending {
			if r := s.records.Next(t); r.Reason != handler.ReasonFIN {
				t.Errorf("record %+v", r)
			}
		}
	})
}

func TestOnErrorMayBlock(t *testing.T) {
	var b *blocker
	build := func() *handler.Frames {
		b = newBlocker()
		h := b.frames()
		h.Codec = frame.Line{Max: 50, KeepEnd: true}
		h.OnError = func(c *handler.Client, err error) {
			io.WriteString(c, "too long\n")
			b.run(c)
			io.WriteString(c, "bye\n")
		}
		return h
	}
	overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
		t.Cleanup(b.release)
		others, conn := s.connectMany(50), s.connect()
		send(t, conn, strings.Repeat("x", 1000))
		b.await(t, 1)
		receive(t, conn, "too long\n")
		expectServed(t, others)
		b.release()
		receiveAll(t, conn, "bye\n")
	})
}

// Most frame functions block at the same time.
func TestManyFunctionsBlock(t *testing.T) {
	var b *blocker
	build := func() *handler.Frames { b = newBlocker(); return b.frames() }
	overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
		t.Cleanup(b.release)
		others, blocked := s.connectMany(50), s.connectMany(200)
		for i, conn := range blocked {
			send(t, conn, fmt.Sprintf("before %d\nblock %d\n", i, i))
		}
		b.await(t, len(blocked))
		for i, conn := range blocked {
			receive(t, conn, fmt.Sprintf("before %d\nbegun\n", i))
			send(t, conn, "after 1\nafter 2\n")
		}
		expectServed(t, others)
		b.release()
		for i, conn := range blocked {
			receive(t, conn, fmt.Sprintf("block %d\nafter 1\nafter 2\n", i))
		}
		expectServed(t, append(others, blocked...))
	})
}

// After a function has lost its loop, the output of the next function in the same call
// is not held back, even if that one blocks too.
func TestRepliesAreSeenAfterASlowOnOpen(t *testing.T) {
	b := newBlocker()
	h := b.frames()
	h.OnOpen = func(*handler.Client) error {
		time.Sleep(50 * time.Millisecond)
		return nil
	}
	ln, dial := listenNet(t, "tcp", "127.0.0.1:0")
	conn := dial()
	defer conn.Close()
	send(t, conn, "block\n") // has arrived when OnOpen is called
	server := tcptest.NewUnstartedServer(h)
	server.Serve(ln)
	defer server.Close()
	defer b.release()
	b.await(t, 1)
	conn.SetDeadline(time.Now().Add(patience))
	receive(t, conn, "begun\n")
}

// As TestRepliesAreSeenAfterASlowOnOpen, but for a slow frame and a frame that is read
// later in the same call.
func TestRepliesAreSeenAfterASlowFrame(t *testing.T) {
	b := newBlocker()
	slow := make(chan struct{}, 1)
	h := b.frames()
	serve := h.OnFrame
	h.Codec = frame.Line{Max: 1 << 20, KeepEnd: true}
	h.OnFrame = func(c *handler.Client, line []byte) error {
		if bytes.HasPrefix(line, []byte("slow")) {
			slow <- struct{}{}
			time.Sleep(50 * time.Millisecond)
			return nil
		}
		return serve(c, line)
	}
	server := tcptest.NewServer(h)
	defer server.Close()
	defer b.release()
	for _, size := range []int{16 << 10, 32 << 10, 64 << 10} { // the sizes of one read
		conn := server.Dial()
		defer conn.Close()
		send(t, conn, "slow"+strings.Repeat("x", size-5)+"\nblock\n")
		<-slow
		b.await(t, 1)
		conn.SetDeadline(time.Now().Add(patience))
		receive(t, conn, "begun\n")
	}
}

func TestDrainWaitsForAFunctionThatBlocks(t *testing.T) {
	var b *blocker
	build := func() *handler.Frames { b = newBlocker(); return b.frames() }
	overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
		t.Cleanup(b.release)
		others, blocked := s.connectMany(50), s.connectMany(20)
		for i, conn := range blocked {
			send(t, conn, fmt.Sprintf("block %d\nnot begun\n", i))
			receive(t, conn, "begun\n")
		}
		expectServed(t, others)
		waitForBusy(t, s.server.TCP.Handler.(*handler.Frames).Clients(), len(blocked))
		done := make(chan error, 1)
		go func() { done <- s.shutdown(patience) }()
		for _, conn := range others {
			receiveAll(t, conn, "")
		}
		select {
		case err := <-done:
			t.Fatalf("shutdown did not wait: %v", err)
		default:
		}
		b.release()
		for i, conn := range blocked {
			receiveAll(t, conn, fmt.Sprintf("block %d\n", i))
		}
		if err := <-done; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if d := s.server.TCP.Drained(); d.Idle != len(others) || d.Finished != len(blocked) || d.Cut != 0 {
			t.Errorf("drained %+v", d)
		}
	})
}

func TestDrainCutsFunctionsThatBlock(t *testing.T) {
	testutil.Long(t)
	var b *blocker
	build := func() *handler.Frames { b = newBlocker(); return b.frames() }
	overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
		t.Cleanup(b.release)
		others, blocked := s.connectMany(50), s.connectMany(20)
		for _, conn := range blocked {
			send(t, conn, "block\n")
			receive(t, conn, "begun\n")
		}
		expectServed(t, others)
		waitForBusy(t, s.server.TCP.Handler.(*handler.Frames).Clients(), len(blocked))
		begin := time.Now()
		if err := s.shutdown(limit / 2); !errors.Is(err, handler.ErrCut) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		within(t, "cut", time.Since(begin), limit/2, slack)
		for _, conn := range others {
			receiveAll(t, conn, "")
		}
		for _, conn := range blocked {
			receiveReset(t, conn)
		}
		if d := s.server.TCP.Drained(); d.Idle != len(others) || d.Cut != len(blocked) {
			t.Errorf("drained %+v", d)
		}
		b.release() // the functions that were left behind end now
	})
}

// If the handler blocks in every frame, for example in database queries, all
// connections are served at the same time: here each function waits for all the others.
// Afterwards no connection uses a goroutine.
func TestAllFunctionsBlockAtTheSameTime(t *testing.T) {
	testutil.Long(t)
	const clients, rounds = 200, 20
	var meeting *barrier
	build := func() *handler.Frames {
		meeting = newBarrier(clients)
		return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) == "meet\n" {
				meeting.wait()
			}
			return echoLine(c, line)
		}}
	}
	overLoopsAndGoroutines(t, build, func(t *testing.T, s *served) {
		t.Cleanup(meeting.end) // also when the test fails
		conns := s.connectMany(clients)
		expectServed(t, conns)
		goroutines := runtime.NumGoroutine()
		for range rounds {
			for _, conn := range conns {
				send(t, conn, "meet\n")
			}
			for _, conn := range conns {
				receive(t, conn, "meet\n")
			}
		}
		// On a busy machine, functions may be considered slow for longer, especially
		// if all are called at the same time.
		for end := time.Now().Add(2 * patience); ; {
			time.Sleep(1500 * time.Millisecond) // meanwhile no function is slow
			for _, conn := range conns {
				conn.SetDeadline(time.Now().Add(patience))
				send(t, conn, "a\n")
				receive(t, conn, "a\n")
			}
			n := runtime.NumGoroutine()
			if n < goroutines+clients/4 {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d goroutines before, %d after, for %d clients", goroutines, n, clients)
			}
		}
	})
}

// barrier makes n goroutines wait for each other, repeatedly.
type barrier struct {
	mu      sync.Mutex
	n       int
	waiting int
	open    chan struct{} // closed when the last one arrives
	ended   bool
}

func newBarrier(n int) *barrier { return &barrier{n: n, open: make(chan struct{})} }

func (b *barrier) wait() {
	b.mu.Lock()
	open := b.open
	if b.waiting++; b.waiting == b.n && !b.ended {
		close(b.open)
		b.waiting, b.open = 0, make(chan struct{})
	}
	b.mu.Unlock()
	<-open
}

// end releases all waiters. Afterwards wait returns at once.
func (b *barrier) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.ended = true
		close(b.open)
	}
}
