package handler_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/rawfd"
	"wireline/internal/testutil"
	"wireline/tcp"
	"wireline/tcptest"
)

// These tests check what a closed connection looks like to the peer: how the stream ends,
// whether the last bytes arrive, and in which state the kernel keeps the connection.

func expectState(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = stateOf(t, conn); got == want {
			return
		}
	}
	t.Errorf("the server end is in state %s, want %s", got, want)
}

// expectTaken waits until the kernel of the peer has everything that was written to
// conn.
func expectTaken(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		raw.Control(func(fd uintptr) { left = rawfd.Unsent(int(fd)) })
		if left == 0 {
			return
		}
	}
	t.Fatalf("%d bytes are still unacknowledged", left)
}

// closer is a server whose client asks to be closed: it sends "go\n", and gets reply
// when proceed is closed.
type closer struct {
	reply   []byte
	proceed chan struct{}
	with    func(c closable) // calls CloseWith; nil for an ordinary close
	records *records
}

func (c *closer) frames() *handler.Frames {
	return &handler.Frames{OnRecord: c.records.Add, OnFrame: func(client *handler.Client, line []byte) error {
		if string(line) != "go" {
			return client.WriteFrame(line)
		}
		<-c.proceed
		client.Write(c.reply)
		if c.with == nil {
			return handler.ErrQuit
		}
		c.with(client)
		return nil
	}}
}

func (c *closer) plain() handler.Handler {
	h := handler.Func(func(_ context.Context, conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, len("go\n"))); err != nil {
			return
		}
		<-c.proceed
		conn.Write(c.reply)
		if c.with == nil {
			conn.Close()
		} else {
			c.with(conn.(*handler.Conn))
		}
	})
	h.OnRecord = c.records.Add
	return h
}

// holders are the ways to hold a connection. testutil.PlainListener keeps connections
// off the event loops.
var holders = []struct {
	name      string
	handler   func(*closer) handler.Handler
	goroutine bool
	frames    bool
}{
	{"loop", func(c *closer) handler.Handler { return c.frames() }, false, true},
	{"goroutine", func(c *closer) handler.Handler { return c.frames() }, true, true},
	{"plain", func(c *closer) handler.Handler { return c.plain() }, true, false},
}

// sendBuffer is how many bytes of a reply the kernel holds while the client does not
// read. Every system allows this size.
const sendBuffer = 200 << 10

// serveClosing starts a server for h with the close mode linger.
func serveClosing(t *testing.T, h handler.Handler, linger handler.CloseMode, goroutine bool) *tcptest.Server {
	t.Helper()
	s := tcptest.NewUnstartedServer(h)
	ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Linger: linger, Socket: tcp.Socket{SendBuffer: sendBuffer}})
	if err != nil {
		t.Fatal(err)
	}
	if goroutine {
		s.TCP.Linger = linger // the wrapped listener does not tell the server
		ln = testutil.PlainListener{Listener: ln}
	}
	s.Serve(ln)
	t.Cleanup(s.Close)
	return s
}

// dialSmall connects with a tiny receive buffer.
func dialSmall(t *testing.T, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(2 * patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// how the modes are asked for: by CloseWith, or for all connections of a server.
var modes = []handler.CloseMode{
	handler.CloseDefault,
	handler.CloseWithin(30 * time.Second),
	handler.CloseReset,
	handler.CloseLingering,
}

// overModes runs test for each holder and mode. Each mode is set by CloseWith, and for
// all connections of the server.
func overModes(t *testing.T, reply []byte, test func(t *testing.T, c *closer, s *tcptest.Server, frames bool, mode handler.CloseMode)) {
	for _, holder := range holders {
		for _, m := range modes {
			for _, way := range []string{"CloseWith", "tcp.linger"} {
				t.Run(holder.name+"/"+m.String()+"/"+way, func(t *testing.T) {
					c := &closer{reply: reply, proceed: make(chan struct{}), records: newRecords()}
					linger := m
					if way == "CloseWith" {
						c.with = func(client closable) { client.CloseWith(m) }
						linger = map[handler.CloseMode]handler.CloseMode{ // a different mode, which CloseWith overrides
							handler.CloseDefault: handler.CloseReset,
							handler.CloseReset:   handler.CloseWithin(30 * time.Second),
						}[m]
					}
					test(t, c, serveClosing(t, holder.handler(c), linger, holder.goroutine), holder.frames, m)
				})
			}
		}
	}
}

// A client that has sent everything and reads: only the reset looks different, and
// leaves no TIME_WAIT.
func TestCloseModes(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overModes(t, []byte("bye\n"), func(t *testing.T, c *closer, s *tcptest.Server, _ bool, mode handler.CloseMode) {
		close(c.proceed)
		conn := s.Dial()
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		send(t, conn, "go\n")
		got, err := io.ReadAll(conn)
		if mode == handler.CloseReset {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read %q, then %v; want a reset", got, err)
			}
			if c.with == nil && string(got) != "bye\n" {
				t.Errorf("read %q, want what was sent before the reset", got)
			}
			expectState(t, conn, "none")
		} else {
			if string(got) != "bye\n" || err != nil {
				t.Errorf("read %q, %v; want the reply and the end", got, err)
			}
			expectState(t, conn, "FIN_WAIT2")
			conn.Close()
			expectState(t, conn, "TIME_WAIT")
		}
		record := c.records.Next(t)
		if record.By != handler.ByServer || record.Reason != handler.ReasonClosed {
			t.Errorf("ended by %s: %s, want server: closed", record.By, record.Reason)
		}
	})
}

// A client that is still sending and does not read yet when it is closed: the plain
// close and the reset destroy the rest of the reply, the other modes deliver it.
func TestCloseModesWithUnreadInput(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	reply := bytes.Repeat([]byte("reply\n"), 20<<10)
	input := "go\n" + strings.Repeat("more\n", 20<<10) // more than one read
	overModes(t, reply, func(t *testing.T, c *closer, s *tcptest.Server, frames bool, mode handler.CloseMode) {
		conn := dialSmall(t, s.Addr)
		send(t, conn, input)
		close(c.proceed)
		// A frame handler always lingers when it closes.
		lost := mode == handler.CloseReset || mode == handler.CloseDefault && (c.with != nil || !frames)
		if lost {
			c.records.Next(t) // the connection is closed; the client reads only now
		}
		got, err := io.ReadAll(conn)
		switch {
		case lost && (len(got) >= len(reply) || !errors.Is(err, syscall.ECONNRESET)):
			t.Errorf("read %d of %d bytes, %v; want a part, and a reset", len(got), len(reply), err)
		case !lost && (!bytes.Equal(got, reply) || err != nil):
			t.Errorf("read %d of %d bytes, %v; want all, and the end", len(got), len(reply), err)
		}
		conn.Close()
		if lost {
			expectState(t, conn, "none")
		} else {
			c.records.Next(t)
		}
	})
}

// A close waits for a client that acknowledges nothing until the limit, even if the
// server has not read all its input. After that, the kernel continues to send.
func TestCloseWithinWaits(t *testing.T) {
	t.Parallel()
	reply := bytes.Repeat([]byte("reply\n"), 20<<10)
	for _, holder := range holders {
		for name, unread := range map[string]string{"all read": "", "unread input": strings.Repeat("more\n", 20<<10)} {
			for _, way := range []string{"CloseWith", "tcp.linger"} {
				t.Run(holder.name+"/"+name+"/"+way, func(t *testing.T) {
					t.Parallel()
					c := &closer{reply: reply, proceed: make(chan struct{}), records: newRecords()}
					linger := handler.CloseWithin(time.Second)
					if way == "CloseWith" {
						c.with = func(client closable) { client.CloseWith(handler.CloseWithin(time.Second)) }
						linger = handler.CloseWithin(time.Hour) // CloseWith overrides this
					}
					s := serveClosing(t, holder.handler(c), linger, holder.goroutine)
					conn := dialSmall(t, s.Addr)
					send(t, conn, "go\n"+unread)
					began := time.Now()
					close(c.proceed)
					c.records.Next(t)
					if took := time.Since(began); took < 900*time.Millisecond {
						t.Errorf("closed after %v, although nothing was acknowledged", took)
					}
					expectState(t, conn, "FIN_WAIT1")
					if got, err := io.ReadAll(conn); !bytes.Equal(got, reply) || err != nil {
						t.Errorf("read %d of %d bytes, %v; want all, and the end", len(got), len(reply), err)
					}
				})
			}
		}
	}
}

// A client that continues to send during the wait still gets the reply.
func TestCloseWithinDiscards(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	reply := bytes.Repeat([]byte("reply\n"), 20<<10)
	for _, holder := range holders {
		t.Run(holder.name, func(t *testing.T) {
			c := &closer{reply: reply, proceed: make(chan struct{}), records: newRecords()}
			c.with = func(client closable) { client.CloseWith(handler.CloseWithin(time.Hour)) }
			s := serveClosing(t, holder.handler(c), handler.CloseDefault, holder.goroutine)
			close(c.proceed)
			conn := dialSmall(t, s.Addr)
			send(t, conn, "go\n")
			expectState(t, conn, "FIN_WAIT1")
			for range 10 { // more than all buffers hold, unless it is read
				send(t, conn, strings.Repeat("more\n", 20<<10))
				expectTaken(t, conn)
			}
			receiveAll(t, conn, string(reply))
			conn.Close()
			c.records.Next(t)
		})
	}
}

// The wait ends when everything is acknowledged.
func TestCloseWithinEndsWithTheAcknowledgement(t *testing.T) {
	reply := bytes.Repeat([]byte("reply\n"), 20<<10)
	for _, holder := range holders {
		for _, linger := range []handler.CloseMode{handler.CloseDefault, handler.CloseWithin(time.Hour)} {
			t.Run(holder.name+"/"+linger.String(), func(t *testing.T) {
				c := &closer{reply: reply, proceed: make(chan struct{}), records: newRecords()}
				if linger == handler.CloseDefault {
					c.with = func(client closable) { client.CloseWith(handler.CloseWithin(time.Hour)) }
				}
				s := serveClosing(t, holder.handler(c), linger, holder.goroutine)
				conn := dialSmall(t, s.Addr)
				close(c.proceed)
				send(t, conn, "go\n")
				expectState(t, conn, "FIN_WAIT1")
				select {
				case <-c.records.All:
					t.Error("closed before the acknowledgement")
				default:
				}
				receiveAll(t, conn, string(reply))
				conn.Close()
				c.records.Next(t)
			})
		}
	}
}

// While many closes wait, the loops serve other clients. The end of a drain ends the
// wait.
func TestCloseWithinDoesNotDelayOthers(t *testing.T) {
	testutil.Long(t)
	reply := bytes.Repeat([]byte("reply\n"), 20<<10)
	for _, linger := range []handler.CloseMode{handler.CloseDefault, handler.CloseWithin(time.Hour)} {
		for _, holder := range holders[:2] {
			t.Run(holder.name+"/"+linger.String(), func(t *testing.T) {
				c := &closer{reply: reply, proceed: make(chan struct{}), records: newRecords()}
				if linger == handler.CloseDefault {
					c.with = func(client closable) { client.CloseWith(handler.CloseWithin(time.Hour)) }
				}
				s := serveClosing(t, holder.handler(c), linger, holder.goroutine)
				close(c.proceed)
				var waiting []net.Conn
				for range 20 {
					conn := dialSmall(t, s.Addr)
					send(t, conn, "go\n")
					waiting = append(waiting, conn)
				}
				for _, conn := range waiting {
					expectState(t, conn, "FIN_WAIT1")
				}
				for range 20 {
					conn := s.Dial()
					conn.SetDeadline(time.Now().Add(patience))
					send(t, conn, "ping\n")
					receive(t, conn, "ping\n")
					conn.Close()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				if err := s.Shutdown(ctx); !errors.Is(err, handler.ErrCut) {
					t.Errorf("Shutdown: %v, want ErrCut", err)
				}
				for _, conn := range waiting {
					receiveReset(t, conn)
				}
			})
		}
	}
}

// CloseWith may be called from any goroutine, on an idle client.
func TestCloseWithOfAnIdleClient(t *testing.T) {
	for _, holder := range holders {
		for _, m := range modes {
			t.Run(holder.name+"/"+m.String(), func(t *testing.T) {
				c := &closer{records: newRecords()}
				h := holder.handler(c)
				s := serveClosing(t, h, handler.CloseDefault, holder.goroutine)
				conn := s.Dial()
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				closed := 0
				for end := time.Now().Add(patience); closed == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
					for _, client := range clientsOf(h) {
						closed++
						client.CloseWith(m)
						client.CloseWith(handler.CloseWithin(time.Hour)) // no effect: the client has already ended
					}
				}
				_, err := io.ReadAll(conn)
				if reset := errors.Is(err, syscall.ECONNRESET); reset != (m == handler.CloseReset) || !reset && err != nil {
					t.Errorf("the stream ended with %v", err)
				}
				conn.Close()
				c.records.Next(t)
			})
		}
	}
}

// closable has the methods that Client and Conn have in common.
type closable interface{ CloseWith(handler.CloseMode) error }

func clientsOf(h handler.Handler) (all []closable) {
	if f, ok := h.(*handler.Frames); ok {
		for c := range f.Clients().All() {
			all = append(all, c)
		}
		return all
	}
	for c := range h.(*handler.Plain).All() {
		all = append(all, c)
	}
	return all
}

// CloseReset ends a close of another mode.
func TestCloseResetWhileClosing(t *testing.T) {
	testutil.Long(t)
	for _, holder := range holders {
		for _, m := range modes[1:] {
			t.Run(holder.name+"/"+m.String(), func(t *testing.T) {
				c := &closer{reply: bytes.Repeat([]byte("reply\n"), 20<<10), proceed: make(chan struct{}), records: newRecords()}
				clients := make(chan closable, 1)
				c.with = func(client closable) {
					client.CloseWith(m)
					clients <- client
				}
				s := serveClosing(t, holder.handler(c), handler.CloseDefault, holder.goroutine)
				close(c.proceed)
				conn := dialSmall(t, s.Addr)
				send(t, conn, "go\n")
				client := <-clients
				if m != handler.CloseReset {
					expectState(t, conn, "FIN_WAIT1")
				}
				client.CloseWith(handler.CloseReset)
				receiveReset(t, conn)
				c.records.Next(t)
			})
		}
	}
}

// A drain ends idle clients with a FIN in every mode, except reset.
func TestDrainWithCloseModes(t *testing.T) {
	t.Parallel()
	for _, holder := range holders[:2] {
		for _, m := range modes {
			t.Run(holder.name+"/"+m.String(), func(t *testing.T) {
				c := &closer{records: newRecords()}
				s := serveClosing(t, holder.handler(c), m, holder.goroutine)
				conn := s.Dial()
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				send(t, conn, "ping\n")
				receive(t, conn, "ping\n")
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := s.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				if m == handler.CloseReset {
					receiveReset(t, conn)
				} else {
					receiveAll(t, conn, "")
				}
			})
		}
	}
}

// Under TLS the mode applies to the underlying socket. The last message and the
// close_notify arrive, except with the reset mode, where the reset follows what was
// written.
func TestCloseModesUnderTLS(t *testing.T) {
	cert := testutil.SelfSigned(t)
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			c := &closer{reply: []byte("bye\n"), proceed: make(chan struct{}), records: newRecords()}
			close(c.proceed)
			ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Linger: m})
			if err != nil {
				t.Fatal(err)
			}
			s := tcptest.NewUnstartedServer(c.frames())
			s.TCP.Linger = m
			s.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}}))
			t.Cleanup(s.Close)
			conn, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			send(t, conn, "go\n")
			got, err := io.ReadAll(conn)
			reset := m == handler.CloseReset
			if string(got) != "bye\n" || errors.Is(err, syscall.ECONNRESET) != reset || !reset && err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			conn.Close()
			c.records.Next(t)
			if reset {
				expectState(t, conn, "none")
			} // otherwise the end that sends its FIN first, after both close_notify, has TIME_WAIT
		})
	}
}
