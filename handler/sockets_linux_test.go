package handler_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// These tests check unusual behaviour of clients over real sockets, on event loops and with
// goroutines.

// control calls f with the descriptor of conn.
func control(t *testing.T, conn any, f func(fd int) error) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := error(nil)
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// cork holds back data sent over TCP until the FIN, so that both are in the same
// segment.
func cork(t *testing.T, conn net.Conn) {
	t.Helper()
	if conn.LocalAddr().Network() == "tcp" {
		control(t, conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
	}
}

// The FIN comes with the data or directly after it, as with printf | nc -N.
func TestFINWithData(t *testing.T) {
	const clients = 500
	texts := []string{"a\n", "a", "a\nb", "\n", "a\n\nb\n"}
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		s := serve(echoFrames())
		var conns []net.Conn
		for i := range clients {
			conn := s.connect()
			if i/len(texts)%2 == 0 {
				cork(t, conn)
			}
			send(t, conn, texts[i%len(texts)])
			closeWrite(t, conn)
			conns = append(conns, conn)
		}
		for i, conn := range conns {
			receiveAll(t, conn, texts[i%len(texts)])
		}
		for range clients {
			if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.BytesIn == 0 || r.BytesIn != r.BytesOut || r.Err != nil {
				t.Fatalf("record %+v", r)
			}
		}
	})
}

func TestFINWhileAFrameIsServed(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		for _, texts := range [][2]string{{"slow\n", ""}, {"slow\n", "next\nlast"}, {"slow\nnext\nla", "st\n"}, {"slow\nnext", ""}} {
			g := newGated()
			s := serve(g.frames())
			conn := s.connect()
			send(t, conn, texts[0])
			<-g.began
			cork(t, conn)
			send(t, conn, texts[1])
			closeWrite(t, conn)
			close(g.gate)
			receiveAll(t, conn, texts[0]+texts[1])
			if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonFIN {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// Even the first frame of a server may block: other clients are served.
func TestFirstFrameMayBlock(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		for range 20 {
			g := newGated()
			s := serve(g.frames())
			slow := s.connect()
			send(t, slow, "slow\n")
			for range 4 { // some of them are on the same loop
				conn := s.connect()
				send(t, conn, "a\n")
				receive(t, conn, "a\n")
			}
			close(g.gate)
			receive(t, slow, "slow\n")
			s.server.Close()
		}
	})
}

func TestManyRepliesAfterTheFIN(t *testing.T) {
	testutil.Long(t)
	const lines, size = 5000, 1 << 10
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		s := serve(&handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
			_, err := fmt.Fprintf(c, "%*s\n", size-1, line)
			return err
		}})
		var in, out strings.Builder
		for i := range lines {
			fmt.Fprintln(&in, i)
			fmt.Fprintf(&out, "%*d\n", size-1, i)
		}
		conn := s.connect()
		send(t, conn, in.String())
		closeWrite(t, conn)
		receiveAll(t, conn, out.String())
		if r := s.records.Next(t); r.Reason != handler.ReasonFIN || r.FramesIn != lines || r.BytesOut != lines*size {
			t.Errorf("record %+v", r)
		}
	})
}

func TestResetWithinAFrame(t *testing.T) {
	const clients = 40
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		s := serve(echoFrames())
		var conns []net.Conn
		for range clients {
			conn := s.connect()
			send(t, conn, "a\nhalf a li")
			receive(t, conn, "a\n")
			conns = append(conns, conn)
		}
		for i, conn := range conns {
			if i%2 == 0 {
				netconn.Reset(conn)
			}
		}
		for i, conn := range conns {
			if i%2 != 0 {
				send(t, conn, "ne\n")
				receive(t, conn, "half a line\n")
			}
		}
		for range clients / 2 {
			if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset || r.FramesIn != 1 || r.BytesIn != 11 || r.Err == nil {
				t.Fatalf("record %+v", r)
			}
		}
		s.records.None(t)
	}, "tcp") // unix sockets have no reset
}

func TestResetWhileAFrameIsServed(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		g := newGated()
		s := serve(g.frames())
		conn := s.connect()
		send(t, conn, "slow\nhalf")
		<-g.began
		netconn.Reset(conn)
		close(g.gate)
		if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset || r.FramesIn < 1 {
			t.Errorf("record %+v", r)
		}
	})
}

// A reset ends the wait for pending output at once, without a timeout.
func TestResetWhileAReplyWaits(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		for what, write := range map[string]func(c *handler.Client) error{
			"one message":   func(c *handler.Client) error { return second(c.Write(large)) },
			"many messages": writeForEver,
		} {
			s := serve(&handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error { return write(c) }})
			conn := s.connect()
			send(t, conn, "a\n")
			receive(t, conn, "\x00")
			netconn.Reset(conn)
			if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset {
				t.Errorf("%s: record %+v", what, r)
			}
		}
	})
}

// Urgent data, as telnet sends it, is not part of the stream. A read ends before it,
// although more data follows.
func TestUrgentData(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		g := newGated()
		conn := serve(g.frames()).connect()
		urgent := func() {
			control(t, conn, func(fd int) error { return unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
		}
		send(t, conn, "slow\n")
		<-g.began // so that all the rest has arrived at the next read
		send(t, conn, "a\nb")
		urgent()
		send(t, conn, "c\nd\n")
		close(g.gate)
		receive(t, conn, "slow\na\nbc\nd\n")
		urgent()
		send(t, conn, "e\n")
		receive(t, conn, "e\n")
	}, "tcp")
}

func TestOneByteSegments(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := &handler.Frames{Codec: frame.Length{Width: 2}, OnFrame: func(c *handler.Client, b []byte) error { return c.WriteFrame(b) }}
		conn := serve(h).connect()
		var text []byte
		for i := range 60 {
			text, _ = h.Codec.Append(text, bytes.Repeat([]byte{byte(i)}, i))
		}
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for i := range text {
				if _, err := conn.Write(text[i : i+1]); err != nil {
					t.Error(err)
					return
				}
			}
			netconn.CloseWrite(conn)
		})
		receiveAll(t, conn, string(text))
	})
}

func TestLongFrames(t *testing.T) {
	testutil.Long(t)
	const size, clients, rounds = 16 << 20, 3, 2
	codec := frame.Length{Max: size}
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		s := serve(&handler.Frames{Codec: codec, OnFrame: func(c *handler.Client, b []byte) error { return c.WriteFrame(b) }})
		var all sync.WaitGroup
		defer all.Wait()
		for i := range clients {
			conn := s.connect()
			conn.SetDeadline(time.Now().Add(4 * patience)) // for a busy machine
			all.Go(func() {
				payload := make([]byte, size-i)
				rand.NewChaCha8([32]byte{byte(i)}).Read(payload)
				text, err := codec.Append(nil, payload)
				if err != nil {
					t.Error(err)
					return
				}
				for range rounds {
					all.Go(func() { conn.Write(text) })
					sum := crc32.NewIEEE()
					if n, err := io.CopyN(sum, conn, int64(len(text))); err != nil || sum.Sum32() != crc32.ChecksumIEEE(text) {
						t.Errorf("read %d bytes of %d with checksum %x, %v", n, len(text), sum.Sum32(), err)
						return
					}
				}
			})
		}
	}, "tcp")
}

// A client on a unix socket may pass descriptors. The server does not use them, but a
// read ends where one was passed, and the data after it must not wait for the next
// event.
func TestPassedDescriptors(t *testing.T) {
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		conn := serve(echoFrames()).connect().(*net.UnixConn)
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		for range 50 {
			if _, _, err := conn.WriteMsgUnix([]byte("a\n"), unix.UnixRights(int(null.Fd())), nil); err != nil {
				t.Fatal(err)
			}
			send(t, conn, "b\n")
			receive(t, conn, "a\nb\n")
		}
	}, "unix")
}

// A client that sends without a pause until all others have been served does not delay
// them. Its own replies are whole and in order.
func TestPipeliningClientDoesNotDelayOthers(t *testing.T) {
	testutil.Long(t)
	const lines, others = 200_000, 8
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		s := serve(&handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) != "ping\n" { // so that more input arrives than is served
				for begin := time.Now(); time.Since(begin) < time.Microsecond; {
				}
			}
			return echoLine(c, line)
		}})
		var all, pings sync.WaitGroup
		defer all.Wait()
		var done atomic.Bool
		conn := s.connect()
		all.Go(func() {
			defer netconn.CloseWrite(conn)
			var text []byte
			for i := 0; i < lines || !done.Load(); text = text[:0] {
				for range 5000 {
					text = fmt.Appendln(text, i)
					i++
				}
				if _, err := conn.Write(text); err != nil {
					t.Errorf("line %d: %v", i, err)
					return
				}
			}
		})
		all.Go(func() {
			replies := bufio.NewScanner(conn)
			n := 0
			for ; replies.Scan(); n++ {
				if got := replies.Text(); got != strconv.Itoa(n) {
					t.Errorf("reply %d is %q", n, got)
					conn.Close()
					return
				}
			}
			if n < lines || replies.Err() != nil {
				t.Errorf("%d replies, %v", n, replies.Err())
			}
		})
		for range others { // on all loops
			conn := s.connect()
			pings.Go(func() {
				for range 20 {
					if err := echoes(conn, "ping\n", "ping\n"); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		pings.Wait()
		done.Store(true)
	}, "tcp")
}

// smallBuffers limits the kernel buffers of the connections of a listener.
func smallBuffers(t *testing.T, ln net.Listener) {
	control(t, ln, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<10) })
}

// A client that never reads costs at most the limit of its pending output, however much
// is pushed.
func TestPushesToClientsThatNeverRead(t *testing.T) {
	testutil.Long(t)
	const clients, rounds, pending = 1000, 300, 2 << 10
	message := bytes.Repeat([]byte("m"), 1<<10)
	for name, whenSlow := range map[string]handler.WhenSlow{"drop": handler.SlowDrop, "close": handler.SlowClose} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by goroutine %t", name, plain), func(t *testing.T) {
				records := newRecords()
				h := &handler.Frames{MaxPending: pending, WhenSlow: whenSlow, OnRecord: records.Add}
				opened := opens(h)
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				smallBuffers(t, ln)
				s := tcptest.NewUnstartedServer(h)
				if plain {
					s.Serve(testutil.PlainListener{Listener: ln})
				} else {
					s.Serve(ln)
				}
				defer s.Close()
				dialer := net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
					return raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
				}}
				for range clients {
					conn, err := dialer.Dial("tcp", s.Addr)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					<-opened
				}
				before, slow := testutil.Heap(), 0
				for range rounds {
					for c := range h.Clients().All() {
						switch _, err := c.Write(message); {
						case errors.Is(err, handler.ErrSlowReader):
							slow++
						case err != nil && !errors.Is(err, handler.ErrClosed):
							t.Errorf("Write: %v", err)
						}
					}
				}
				if whenSlow == handler.SlowDrop {
					if n := h.Clients().Len(); n != clients || slow < clients*rounds/2 {
						t.Errorf("%d clients are left, %d messages were dropped", n, slow)
					}
				} else {
					for range clients {
						if r := records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonSlowReader {
							t.Fatalf("record %+v", r)
						}
					}
				}
				// 300 MiB were pushed. Output buffers double when they grow.
				if grown := testutil.Heap() - before; grown > 30<<20 {
					t.Errorf("the heap grew by %d MiB for %d clients", grown>>20, clients)
				}
			})
		}
	}
}

// Hijack returns a connection of package net. No bytes are lost, and nothing of the
// handler is left on it.
func TestHijackOverSockets(t *testing.T) {
	testutil.Long(t)
	type taken struct {
		conn     net.Conn
		buffered []byte
	}
	t.Parallel()
	unsent := strings.Repeat("x", len(large))
	for name, test := range map[string]struct{ sent, written string }{
		"in OnFrame":         {"raw\nrest", ""},
		"with output unsent": {"raw\nrest", unsent},
		"in OnOpen":          {"rest", ""},
	} {
		t.Run(name, func(t *testing.T) {
			overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
				hijacked, closed := make(chan taken, 1), make(chan *handler.Client, 1)
				hijack := func(c *handler.Client) error {
					conn, buffered, err := c.Hijack()
					if err != nil {
						t.Errorf("Hijack: %v", err)
					}
					hijacked <- taken{conn, buffered}
					return err
				}
				h := &handler.Frames{
					IdleTimeout: limit, FrameTimeout: limit, WriteTimeout: limit,
					OnClose: func(c *handler.Client) { closed <- c },
					OnFrame: func(c *handler.Client, line []byte) error {
						if _, err := io.WriteString(c, test.written); err != nil {
							t.Error(err)
						}
						return hijack(c)
					},
				}
				if name == "in OnOpen" {
					h.OnOpen = hijack
				}
				s := serve(h)
				conn := s.connect()
				send(t, conn, test.sent)
				receive(t, conn, test.written)
				mine := testutil.Await(t, "the connection", hijacked)
				defer mine.conn.Close()
				switch mine.conn.(type) {
				case *net.TCPConn, *net.UnixConn:
				default:
					t.Errorf("the connection is a %T", mine.conn)
				}
				if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonHijacked || r.BytesOut != int64(len(test.written)) {
					t.Errorf("record %+v", r)
				}
				<-closed
				if st := s.server.TCP.Stats(); st.Active != 0 || h.Clients().Len() != 0 {
					t.Errorf("stats %+v, %d clients", st, h.Clients().Len())
				}
				if err := s.shutdown(patience); err != nil {
					t.Errorf("shutdown: %v", err)
				}
				time.Sleep(2 * limit) // no timeout runs any more
				if !strings.HasPrefix("rest", string(mine.buffered)) {
					t.Fatalf("Hijack returned the input %q", mine.buffered)
				}
				receive(t, mine.conn, "rest"[len(mine.buffered):])
				send(t, conn, "ping")
				receive(t, mine.conn, "ping")
				send(t, mine.conn, "pong")
				mine.conn.Close()
				receiveAll(t, conn, "pong")
				if len(closed) > 0 {
					t.Error("OnClose was called twice")
				}
			})
		})
	}
}

// LocalAddr and RemoteAddr are the addresses that the client sees, also after its end.
func TestAddresses(t *testing.T) {
	for _, test := range []struct{ network, listen, dial string }{
		{"tcp", "127.0.0.1:0", "127.0.0.1"},
		{"tcp", "[::1]:0", "::1"},
		{"tcp", ":0", "127.0.0.1"},
		{"tcp", ":0", "127.0.0.2"},
		{"tcp", ":0", "::1"},
		{"tcp4", "0.0.0.0:0", "127.0.0.1"},
		{"tcp6", "[::]:0", "::1"},
		{"unix", "", ""},
	} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %s, %s, by goroutine %t", test.network, test.listen, test.dial, plain), func(t *testing.T) {
				address := test.listen
				if test.network == "unix" {
					address = t.TempDir() + "/s"
				}
				ln, err := net.Listen(test.network, address)
				if err != nil {
					t.Skip(err)
				}
				h := echoFrames()
				opened, records := opens(h), newRecords()
				h.OnRecord = records.Add
				// OnClose may ask for the address.
				h.OnClose = func(*handler.Client) {}
				s := tcptest.NewUnstartedServer(h)
				if plain {
					s.Serve(testutil.PlainListener{Listener: ln})
				} else {
					s.Serve(ln)
				}
				defer s.Close()
				if test.network != "unix" {
					_, port, _ := net.SplitHostPort(ln.Addr().String())
					address = net.JoinHostPort(test.dial, port)
				}
				conn, err := net.DialTimeout(test.network, address, patience)
				if err != nil {
					t.Skip(err)
				}
				defer conn.Close()
				c := <-opened
				look := func(when string) {
					t.Helper()
					local, remote := c.LocalAddr(), c.RemoteAddr()
					if local == nil || remote == nil || local.Network() != conn.RemoteAddr().Network() || remote.Network() != conn.LocalAddr().Network() {
						t.Fatalf("%s: addresses %v and %v", when, local, remote)
					}
					if local.String() != conn.RemoteAddr().String() {
						t.Errorf("%s: LocalAddr is %v, the client connected to %v", when, local, conn.RemoteAddr())
					}
					if test.network != "unix" && remote.String() != conn.LocalAddr().String() {
						t.Errorf("%s: RemoteAddr is %v, the address of the client is %v", when, remote, conn.LocalAddr())
					}
				}
				look("while it is served")
				conn.Close()
				if r := records.Next(t); test.network != "unix" && r.Peer.String() != conn.LocalAddr().String() {
					t.Errorf("Peer in the record is %v, the address of the client is %v", r.Peer, conn.LocalAddr())
				}
				look("after its end")
			})
		}
	}
}

// All descriptors of clients are closed, however the clients end, and finally those of
// the server.
func TestDescriptorsComeBack(t *testing.T) {
	testutil.Long(t)
	for network, clients := range map[string]int{"tcp": 500, "unix": 100} { // clients of each kind
		if testutil.Reduced() && network == "unix" {
			continue
		}
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by goroutine %t", network, plain), func(t *testing.T) {
				before := testutil.OpenFiles(t)
				g := newGated()
				h := g.frames()
				h.IdleTimeout = limit
				s := &served{t: t, records: newRecords()}
				h.OnRecord = s.records.Add
				address := "127.0.0.1:0"
				if network == "unix" {
					address = t.TempDir() + "/s"
				}
				ln, dial := listenNet(t, network, address)
				s.server = tcptest.NewUnstartedServer(h)
				if plain {
					ln = testutil.PlainListener{Listener: ln}
				}
				s.server.Serve(ln)
				defer s.server.Close()
				connect := func() net.Conn {
					conn := dial()
					conn.SetDeadline(time.Now().Add(patience))
					return conn
				}
				counts := map[handler.Reason]int{}
				ended := func(n int) {
					for range n {
						counts[s.records.Next(t).Reason]++
					}
				}
				warm := connect() // the loops have descriptors too
				send(t, warm, "a\n")
				receive(t, warm, "a\n")
				warm.Close()
				ended(1)
				delete(counts, handler.ReasonFIN)
				serving := testutil.OpenFiles(t)
				var silent []net.Conn
				for i := range clients {
					conn := connect()
					send(t, conn, "a\nhalf")
					receive(t, conn, "a\n")
					conn.Close()
					conn = connect()
					send(t, conn, "a\n")
					if i%2 == 0 {
						receive(t, conn, "a\n")
					}
					netconn.Reset(conn)
					silent = append(silent, connect())
				}
				for _, conn := range silent {
					receiveAll(t, conn, "")
					conn.Close()
				}
				ended(3 * clients)
				if n := testutil.OpenFiles(t); n != serving {
					t.Errorf("%d files are open after %d clients, %d before", n, 3*clients, serving)
				}
				if n := counts[handler.ReasonIdleTimeout]; n != clients {
					t.Errorf("reasons %v, want %d timeouts", counts, clients)
				}
				var busy []net.Conn
				for range clients {
					conn := connect()
					send(t, conn, "slow\n")
					busy = append(busy, conn)
					<-g.began
				}
				over, cancel := context.WithCancel(t.Context())
				cancel()
				done := make(chan error, 1)
				go func() { done <- s.server.Shutdown(over) }()
				ended(clients)
				close(g.gate)
				if err := <-done; !errors.Is(err, handler.ErrCut) {
					t.Errorf("shutdown: %v", err)
				}
				if n := counts[handler.ReasonCut]; n != clients {
					t.Errorf("reasons %v, want %d cut", counts, clients)
				}
				for _, conn := range busy {
					io.Copy(io.Discard, conn)
					conn.Close()
				}
				// The descriptor of a client that was cut is closed when its frame
				// function returns, and those of the loops after the last one.
				eventually(t, "the descriptors", func() bool {
					return testutil.OpenFiles(t) == before
				})
			})
		}
	}
}

// A descriptor number is not reused while it may still be in use. If the server resets
// clients while others connect, no client gets bytes of another.
func TestDescriptorsAreNotMixedUp(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := &handler.Frames{Codec: keepEnd, MaxPending: 4 << 10, WhenSlow: handler.SlowClose, OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) != "flood\n" {
				return echoLine(c, line)
			}
			for {
				if _, err := c.Write(large); err != nil {
					return err
				}
			}
		}}
		s := serve(h)
		var all sync.WaitGroup
		defer all.Wait()
		for i := range 4 {
			all.Go(func() {
				for j := range 50 {
					conn := s.dial()
					conn.SetDeadline(time.Now().Add(patience))
					if i == 0 {
						io.WriteString(conn, "flood\n")
						io.Copy(io.Discard, conn)
					} else if line := fmt.Sprintf("client %d, line %d\n", i, j); echoes(conn, line, line) != nil {
						t.Errorf("no reply to %s", line)
					}
					conn.Close()
				}
			})
		}
	})
}

// A socket may accept output again directly after it has refused some. The writer must
// not miss that.
func TestOutputDoesNotStall(t *testing.T) {
	const clients, messages, size = 4, 1500, 16 << 10
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := &handler.Frames{MaxPending: size}
		opened := opens(h)
		s := serve(h)
		var all sync.WaitGroup
		for range clients {
			conn := s.connect()
			c := <-opened
			all.Go(func() {
				message := make([]byte, size)
				for i := range messages {
					if _, err := c.Write(message); err != nil {
						t.Errorf("message %d: %v", i, err)
						return
					}
				}
			})
			all.Go(func() {
				if n, err := io.CopyN(io.Discard, conn, messages*size); err != nil {
					t.Errorf("read %d bytes of %d, %v", n, messages*size, err)
					s.server.Close() // otherwise the writer waits for ever
				}
			})
		}
		all.Wait()
	})
}
