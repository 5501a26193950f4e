package handler_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"wireline/handler"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// greeting echoes lines with its name before them.
func greeting(name string) *handler.Frames {
	return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
		_, err := fmt.Fprintf(c, "%s %s", name, line)
		return err
	}}
}

// reconfigure makes next the settings of the handler of s.
func (s *served) reconfigure(next *handler.Frames) {
	s.t.Helper()
	if err := s.server.TCP.Handler.(*handler.Frames).Reconfigure(next); err != nil {
		s.t.Fatal(err)
	}
}

// Clients that are there keep the functions and the codec that they have. The others get the new ones.
// The handler, its counts and its drain are those of all of them.
func TestReconfigure(t *testing.T) {
	overTransports(t, func() *handler.Frames { return greeting("one") }, func(t *testing.T, s *served) {
		h := s.server.TCP.Handler.(*handler.Frames)
		var conns []net.Conn
		connect := func(text, want string) {
			conn := s.connect()
			send(t, conn, text)
			receive(t, conn, want)
			conns = append(conns, conn)
		}
		connect("a\n", "one a\n")
		ended := make(chan string, 2)
		next := &handler.Frames{
			Codec: frame.Delimiter{Delim: []byte(";")},
			OnFrame: func(c *handler.Client, text []byte) error {
				return c.WriteFrame(append([]byte("two "), text...))
			},
			OnEnd:    func(*handler.Client) { ended <- "end" },
			OnClose:  func(*handler.Client) { ended <- "close" },
			OnRecord: func(handler.Record) { t.Error("OnRecord is not that of the handler") },
		}
		s.reconfigure(next)
		connect("b;", "two b;")
		s.reconfigure(greeting("three"))
		connect("c\n", "three c\n")
		for i, text := range []string{"d\n", "d;", "d\n"} {
			send(t, conns[i], text)
			receive(t, conns[i], []string{"one ", "two ", "three "}[i]+text)
		}
		if next.Clients() != h.Clients() {
			t.Error("a generation has clients of its own")
		}
		if n := h.Clients().Len(); n != 3 || len(slices.Collect(h.Clients().All())) != 3 {
			t.Errorf("%d clients, want 3", n)
		}
		eventually(t, "6 frames in the totals, and idle clients", func() bool {
			busy := func(c *handler.Client) bool { return c.Busy() }
			return h.Totals().FramesIn == 6 && !slices.ContainsFunc(slices.Collect(h.Clients().All()), busy)
		})
		for l := range h.Live() {
			if l.ID < 1 || l.ID > 3 {
				t.Errorf("the ID is %d", l.ID)
			}
		}
		if err := s.shutdown(patience); err != nil {
			t.Error(err)
		}
		for _, conn := range conns {
			receiveAll(t, conn, "")
			if r := s.records.Next(t); r.Reason != handler.ReasonDrain {
				t.Errorf("record %+v", r)
			}
		}
		if a, b := <-ended, <-ended; a != "end" || b != "close" {
			t.Errorf("called %s, then %s", a, b)
		}
		if d := h.Drained(); d.Idle != 3 || len(h.Last()) != 3 || h.Totals().Open() != 0 {
			t.Errorf("drained %+v, %d records, %d open", d, len(h.Last()), h.Totals().Open())
		}
	})
}

// join connects a client in memory to h, and returns both ends of it.
func join(t *testing.T, h *handler.Frames, opened <-chan *handler.Client) (net.Conn, *handler.Client) {
	conn, server := tcptest.PipeSize(1000)
	go h.Handle(t.Context(), server)
	t.Cleanup(func() { conn.Close() })
	return conn, <-opened
}

// Each client has the timeouts of its own settings, also after SetTimeouts.
func TestReconfigureTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, next := echoFrames(), echoFrames()
		h.IdleTimeout, next.IdleTimeout = time.Hour, time.Minute
		opened, openedNext := opens(h), opens(next)
		old, c := join(t, h, opened)
		if err := h.Reconfigure(next); err != nil {
			t.Fatal(err)
		}
		young, d := join(t, h, openedNext)
		begin := time.Now()
		c.SetTimeouts(handler.Timeouts{Read: 2 * time.Hour})
		d.SetTimeouts(handler.Timeouts{Read: 2 * time.Hour})
		receiveAll(t, young, "")
		within(t, "ended", time.Since(begin), time.Minute, time.Minute+50*time.Millisecond)
		c.SetTimeouts(handler.Timeouts{})
		receiveAll(t, old, "")
		within(t, "ended", time.Since(begin), time.Hour, time.Hour+50*time.Millisecond)
	})
}

// So it is with what bounds input and output.
func TestReconfigureLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		build := func(limit float64, tooLong handler.TooLong, pending int) *handler.Frames {
			return &handler.Frames{
				Codec: frame.Line{Max: 4}, TooLong: tooLong, MaxPending: pending, WhenSlow: handler.SlowDrop,
				Limit:   handler.Limit{Frames: limit, FrameBurst: 1},
				OnFrame: func(c *handler.Client, line []byte) error { return c.WriteFrame(line) },
			}
		}
		h, next := build(1, handler.TooLongDiscard, 2000), build(10, handler.TooLongEnd, 5000)
		defer h.Close()
		opened, openedNext := opens(h), opens(next)
		old, c := join(t, h, opened)
		if err := h.Reconfigure(next); err != nil {
			t.Fatal(err)
		}
		young, d := join(t, h, openedNext)
		for _, test := range []struct {
			conn  net.Conn
			every time.Duration
		}{{old, time.Second}, {young, 100 * time.Millisecond}} {
			begin := time.Now()
			send(t, test.conn, "a\nb\nc\nd\ne\n")
			receive(t, test.conn, "a\nb\nc\nd\ne\n")
			within(t, "served", time.Since(begin), 4*test.every*9/10, 4*test.every*11/10+50*time.Millisecond)
			time.Sleep(5 * time.Second)
		}
		for c, limit := range map[*handler.Client]int{c: 2000, d: 5000} {
			n := 0
			for {
				if _, err := c.Write(make([]byte, 100)); err != nil {
					break
				}
				n += 100
			}
			if n < limit || n > limit+1000 { // the connection may have taken up to 1000
				t.Errorf("%d bytes are pending or sent, want %d", n, limit)
			}
			conn := old
			if c == d {
				conn = young
			}
			receive(t, conn, string(make([]byte, n)))
		}
		send(t, old, "too long\na\n")
		receive(t, old, "a\n")
		send(t, young, "too long\na\n")
		receiveAll(t, young, "")
	})
}

// badCodec is not valid.
type badCodec struct{ frame.Line }

func (badCodec) Validate() error { return io.ErrShortBuffer }

// What Reconfigure refuses changes nothing.
func TestReconfigureRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, current, other, its := greeting("one"), greeting("two"), greeting("three"), greeting("four")
		if err := h.Reconfigure(current); err != nil {
			t.Fatal(err)
		}
		if err := other.Reconfigure(its); err != nil {
			t.Fatal(err)
		}
		for name, next := range map[string]*handler.Frames{
			"nil": nil, "itself": h, "the same again": current, "a handler": other, "another's": its,
			"a bad timeout": {IdleTimeout: -1}, "a bad codec": {Codec: badCodec{}},
		} {
			if err := h.Reconfigure(next); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if err := current.Reconfigure(greeting("five")); err == nil {
			t.Error("no error for Reconfigure of what Reconfigure has got")
		}
		for h, want := range map[*handler.Frames]string{h: "two", other: "four", current: "two"} {
			conn, _ := handle(t, h, 100)
			send(t, conn, "a\n")
			receive(t, conn, want+" a\n")
			conn.Close()
		}
		synctest.Wait()
		if n := h.Totals().Opened; n != 2 || other.Totals().Opened != 1 {
			t.Errorf("%d and %d clients", n, other.Totals().Opened)
		}
	})
}

// Before the first connection, Reconfigure replaces everything but OnRecord; after Shutdown nobody
// notices.
func TestReconfigureBeforeAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := greeting("one")
		records := newRecords()
		h.OnRecord = records.Add
		if h.Clients().Len() != 0 || h.Totals().Opened != 0 {
			t.Error("there are clients before the first one")
		}
		if err := h.Reconfigure(greeting("two")); err != nil {
			t.Fatal(err)
		}
		conn, server := tcptest.Pipe()
		go h.Handle(t.Context(), server)
		send(t, conn, "a\n")
		receive(t, conn, "two a\n")
		conn.Close()
		records.Next(t)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := h.Reconfigure(greeting("three")); err != nil {
			t.Error(err)
		}
		if err := h.Reconfigure(&handler.Frames{ReadTimeout: -1}); err == nil {
			t.Error("a wrong timeout is not refused after Shutdown")
		}
		late, _ := handle(t, h, 100)
		receiveAll(t, late, "")
	})
}

// A drain that is under way ends clients of all settings.
func TestReconfigureDuringShutdown(t *testing.T) {
	gate := make(chan struct{})
	slow := func() *handler.Frames {
		h := greeting("slow")
		reply := h.OnFrame
		h.OnFrame = func(c *handler.Client, line []byte) error {
			<-gate
			return reply(c, line)
		}
		return h
	}
	records := newRecords()
	h := slow()
	h.OnRecord = records.Add
	s := tcptest.NewServer(h)
	defer s.Close()
	var conns []net.Conn
	connect := func() {
		conn := s.Dial()
		conns = append(conns, conn)
		send(t, conn, "a\n")
		busy := func(c *handler.Client) bool { return !c.Busy() }
		eventually(t, "a busy client", func() bool {
			return h.Clients().Len() == len(conns) && !slices.ContainsFunc(slices.Collect(h.Clients().All()), busy)
		})
	}
	connect()
	if err := h.Reconfigure(slow()); err != nil {
		t.Fatal(err)
	}
	connect()
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { done <- s.Shutdown(ctx) }()
	eventually(t, "the drain", func() bool { return h.Drained().Finished == 2 })
	if err := h.Reconfigure(greeting("new")); err != nil {
		t.Error(err)
	}
	close(gate)
	for _, conn := range conns {
		receiveAll(t, conn, "slow a\n")
		conn.Close()
		records.Next(t)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A hundred changes while clients talk, come and go: none of them notices, and each has one of the
// settings from its beginning to its end.
func TestReconfigureUnderLoad(t *testing.T) {
	overTransports(t, func() *handler.Frames { return greeting("0") }, func(t *testing.T, s *served) {
		const talkers, changes = 8, 100
		var stop atomic.Bool
		var all sync.WaitGroup
		// talk sends a line, and returns the name of the settings in the reply.
		talk := func(conn net.Conn, line string) (name string, err error) {
			if _, err := io.WriteString(conn, line); err != nil {
				return "", err
			}
			var reply []byte
			for b := make([]byte, 100); !strings.HasSuffix(string(reply), "\n"); {
				n, err := conn.Read(b)
				if err != nil {
					return "", err
				}
				reply = append(reply, b[:n]...)
			}
			name, rest, _ := strings.Cut(string(reply), " ")
			if rest != line {
				return "", fmt.Errorf("the reply to %q is %q", line, reply)
			}
			return name, nil
		}
		var rounds, comers atomic.Int64
		for range talkers {
			conn := s.connect()
			all.Go(func() {
				for first := ""; !stop.Load(); rounds.Add(1) {
					name, err := talk(conn, "hello\n")
					if err != nil || first != "" && name != first {
						t.Errorf("a client of %q: %q, %v", first, name, err)
						return
					}
					first = name
				}
			})
		}
		all.Go(func() {
			for !stop.Load() {
				conn := s.dial()
				if _, err := talk(conn, "hello\n"); err != nil {
					t.Errorf("a client that comes: %v", err)
				}
				conn.Close()
				comers.Add(1)
			}
		})
		for i := range changes {
			before := comers.Load()
			s.reconfigure(greeting(fmt.Sprint(i + 1)))
			if i%10 == 0 {
				eventually(t, "a client to come", func() bool { return comers.Load() > before || t.Failed() })
			}
		}
		before := rounds.Load()
		eventually(t, "talk after the changes", func() bool { return rounds.Load() > before+talkers || t.Failed() })
		stop.Store(true)
		all.Wait()
		conn := s.connect()
		if name, err := talk(conn, "a\n"); err != nil || name != fmt.Sprint(changes) {
			t.Errorf("the last client is one of %s, %v", name, err)
		}
	})
}

// Changes at the same time are made one after the other, and a Frames is used once.
func TestReconfigureConcurrently(t *testing.T) {
	h, other := greeting("a"), greeting("b")
	next := greeting("c")
	var used atomic.Int32
	var all sync.WaitGroup
	for _, h := range []*handler.Frames{h, other, h, other} {
		all.Go(func() {
			if h.Reconfigure(next) == nil {
				used.Add(1)
			}
			h.Reconfigure(greeting("d"))
		})
	}
	all.Wait()
	if n := used.Load(); n != 1 {
		t.Errorf("one Frames was used %d times", n)
	}
}

// Settings that no client has any more are not kept.
func TestReconfigureKeepsNothing(t *testing.T) {
	overTransports(t, echoFrames, func(t *testing.T, s *served) {
		reconfigured := func() weak.Pointer[handler.Frames] {
			next := greeting("two")
			s.reconfigure(next)
			return weak.Make(next)
		}
		next := reconfigured()
		conn := s.connect()
		send(t, conn, "a\n")
		receive(t, conn, "two a\n")
		s.reconfigure(greeting("three"))
		runtime.GC()
		send(t, conn, "b\n")
		receive(t, conn, "two b\n")
		conn.Close()
		s.records.Next(t)
		eventually(t, "the old settings to be collected", func() bool {
			runtime.GC()
			return next.Value() == nil
		})
		// The handler goes on.
		conn = s.connect()
		send(t, conn, "c\n")
		receive(t, conn, "three c\n")
	})
}

// MaxHandshakes of the last settings holds for all clients.
func TestReconfigureMaxHandshakes(t *testing.T) {
	build := func() *handler.Frames {
		h := upgrading(t)
		h.MaxHandshakes = 1
		return h
	}
	overPlainTransports(t, build, func(t *testing.T, s *served) {
		old := s.connect()
		send(t, old, "a\n")
		receive(t, old, "a\n")
		next := upgrading(t)
		next.MaxHandshakes = 3
		s.reconfigure(next)
		for _, conn := range []net.Conn{old, s.connect()} {
			send(t, conn, "STARTTLS\n")
			receive(t, conn, "go ahead\n")
			client := secure(t, conn)
			send(t, client, "a\n")
			receive(t, client, "a\n")
		}
	})
}
