package handler_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

var keepEnd = frame.Line{KeepEnd: true}

func echoFrames() *handler.Frames {
	return &handler.Frames{Codec: keepEnd, OnFrame: echoLine}
}

func TestFramesSplitAndMerged(t *testing.T) {
	overTransports(t, echoFrames, func(t *testing.T, s *served) {
		conn := s.connect()
		for _, b := range []byte("one\r\ntwo\n") {
			send(t, conn, string(b))
		}
		receive(t, conn, "one\r\ntwo\n")
		send(t, conn, "a\nb\nc")
		receive(t, conn, "a\nb\n")
		send(t, conn, "d\n")
		receive(t, conn, "cd\n")
	})
}

func TestFramesHalfClose(t *testing.T) {
	overTransports(t, echoFrames, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\nb")
		closeWrite(t, conn)
		receiveAll(t, conn, "a\nb")
		r := s.records.Next(t)
		if r.By != handler.ByClient || r.Reason != handler.ReasonFIN || r.FramesIn != 2 || r.FramesOut != 2 || r.BytesIn != 3 || r.BytesOut != 3 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestFINWithoutFrames(t *testing.T) {
	overTransports(t, echoFrames, func(t *testing.T, s *served) {
		conn := s.connect()
		closeWrite(t, conn)
		receiveAll(t, conn, "")
		if r := s.records.Next(t); r.Reason != handler.ReasonFIN || r.FramesIn != 0 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestFramesReset(t *testing.T) {
	overTransports(t, echoFrames, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\nhalf")
		receive(t, conn, "a\n")
		netconn.Reset(conn)
		r := s.records.Next(t)
		// A unix socket has no reset: the server sees a last line, and the reply to
		// it fails.
		if r.By != handler.ByClient || r.Reason != handler.ReasonReset || r.Err == nil {
			t.Errorf("record %+v", r)
		}
	})
}

// countWrites counts the calls of Write on the server end.
type countWrites struct {
	net.Conn
	n int
}

func (c *countWrites) Write(p []byte) (int, error) { c.n++; return c.Conn.Write(p) }

func TestRepliesToPipelinedFramesAreOneWrite(t *testing.T) {
	client, server := tcptest.Pipe()
	counted := &countWrites{Conn: server}
	batch := strings.Repeat("a line of a batch\n", 64)
	var wg sync.WaitGroup
	send(t, client, batch)
	wg.Go(func() { echoFrames().Handle(t.Context(), counted) })
	receive(t, client, batch)
	client.Close()
	wg.Wait()
	if counted.n != 1 {
		t.Errorf("%d replies in %d writes", 64, counted.n)
	}
}

func TestTooLongIsAnsweredInFull(t *testing.T) {
	testutil.Long(t)
	const answer = "error: too long\n"
	rounds := 5
	if testutil.Reduced() {
		rounds = 2
	}
	build := func() *handler.Frames {
		return &handler.Frames{
			Codec:   frame.Line{Max: 1000, KeepEnd: true},
			OnFrame: echoLine,
			OnError: func(c *handler.Client, err error) {
				if errors.Is(err, frame.ErrTooLong) {
					io.WriteString(c, answer)
				}
			},
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		flood := bytes.Repeat([]byte("x"), 3<<20)
		// One after the other: a server discards input for two seconds (closing.LongLinger),
		// which is little for many clients on a busy machine.
		for range rounds {
			conn := s.connect()
			// The client sends everything before it reads.
			if _, err := conn.Write(append([]byte("good\n"), flood...)); err != nil {
				t.Errorf("write: %v", err)
			}
			closeWrite(t, conn)
			receiveAll(t, conn, "good\n"+answer)
			conn.Close()
		}
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonFrameError || !errors.Is(r.Err, frame.ErrTooLong) {
			t.Errorf("record %+v", r)
		}
	})
}

func TestOnFrameErrorEndsTheClient(t *testing.T) {
	broken := errors.New("broken")
	build := func() *handler.Frames {
		return &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
			switch string(line) {
			case "quit":
				fmt.Fprintln(c, "bye")
				return handler.ErrQuit
			case "break":
				fmt.Fprintln(c, "sorry")
				return broken
			}
			return c.WriteFrame(line)
		}}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\nquit\nb\n")
		receiveAll(t, conn, "a\nbye\n")
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonClosed || r.Err != nil || r.FramesIn != 2 {
			t.Errorf("record %+v", r)
		}
		conn = s.connect()
		send(t, conn, "break\nb\n")
		receiveAll(t, conn, "sorry\n")
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonHandlerError || r.Err != broken || r.FramesIn != 1 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestPanicCostsOneConnection(t *testing.T) {
	build := func() *handler.Frames {
		return &handler.Frames{Codec: keepEnd, OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) == "panic\n" {
				panic("as asked")
			}
			return echoLine(c, line)
		}}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		silenceLog(t)
		other, conn := s.connect(), s.connect()
		send(t, other, "a\n")
		receive(t, other, "a\n")
		send(t, conn, "before\npanic\nafter\n")
		receiveAll(t, conn, "before\n")
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonPanic || r.FramesIn != 2 {
			t.Errorf("record %+v", r)
		}
		send(t, other, "b\n")
		receive(t, other, "b\n")
		if err := s.shutdown(patience); err != nil { // the panic is counted after the record is written
			t.Error(err)
		}
		if n := s.server.TCP.Stats().Panics; n != 1 {
			t.Errorf("%d panics counted", n)
		}
	})
}

// panickingRead is a connection whose Read panics after it has read "panic\n".
type panickingRead struct{ *tcptest.Conn }

func (c panickingRead) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if string(p[:n]) == "panic\n" {
		panic("as asked")
	}
	return n, err
}

// A panic of the net.Conn itself, which is read from outside the frame function, ends the
// client, too. Its value is reported with the stack of Read.
func TestConnectionThatPanics(t *testing.T) {
	client, server := tcptest.Pipe()
	a := &panickedWith{accepted: accepted{ctx: t.Context(), conn: panickingRead{server}}}
	records := newRecords()
	h := echoFrames()
	h.OnRecord = records.Add
	h.Accept(a)
	send(t, client, "a\n")
	receive(t, client, "a\n")
	send(t, client, "panic\n")
	receiveAll(t, client, "")
	client.Close()
	if r := records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonPanic {
		t.Errorf("record %+v", r)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if v := fmt.Sprint(a.value); !strings.HasPrefix(v, "as asked\n") || !strings.Contains(v, "panickingRead.Read") {
		t.Errorf("the panic was reported with %q", v)
	}
}

// panickedWith notes with what Panicked was called.
type panickedWith struct {
	accepted
	value any
}

func (a *panickedWith) Panicked(v any) { a.value = v }

func TestOpenCloseAndValue(t *testing.T) {
	type session struct{ lines int }
	var mu sync.Mutex
	closed := map[uint64]int{}
	build := func() *handler.Frames {
		return &handler.Frames{
			OnOpen: func(c *handler.Client) error {
				c.Value = &session{}
				_, err := io.WriteString(c, "hello\n")
				return err
			},
			OnFrame: func(c *handler.Client, line []byte) error {
				s := c.Value.(*session)
				s.lines++
				_, err := fmt.Fprintf(c, "%d %s\n", s.lines, line)
				return err
			},
			OnClose: func(c *handler.Client) {
				mu.Lock()
				defer mu.Unlock()
				closed[c.ID()] += c.Value.(*session).lines
			},
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		mu.Lock()
		clear(closed)
		mu.Unlock()
		conn := s.connect()
		receive(t, conn, "hello\n")
		send(t, conn, "a\nb\n")
		receive(t, conn, "1 a\n2 b\n")
		conn.Close()
		r := s.records.Next(t)
		mu.Lock()
		defer mu.Unlock()
		if closed[r.ID] != 2 || len(closed) != 1 {
			t.Errorf("OnClose saw %v for client %d", closed, r.ID)
		}
	})
}

func TestOpenFails(t *testing.T) {
	build := func() *handler.Frames {
		return &handler.Frames{
			OnOpen: func(c *handler.Client) error {
				io.WriteString(c, "not you\n")
				return errors.New("refused")
			},
			OnClose: func(*handler.Client) { panic("OnClose without OnOpen") },
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\n")
		receiveAll(t, conn, "not you\n")
		conn.Close()
		if r := s.records.Next(t); r.Reason != handler.ReasonHandlerError || r.FramesIn != 0 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestCloseFromAnotherGoroutine(t *testing.T) {
	opened := make(chan *handler.Client, 1)
	build := func() *handler.Frames {
		return &handler.Frames{OnOpen: func(c *handler.Client) error {
			opened <- c
			return nil
		}}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		c := <-opened
		io.WriteString(c, "last words\n")
		c.Close()
		receiveAll(t, conn, "last words\n")
		conn.Close()
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonClosed {
			t.Errorf("record %+v", r)
		}
		if _, err := io.WriteString(c, "more"); !errors.Is(err, handler.ErrClosed) {
			t.Errorf("Write after the end: %v", err)
		}
	})
}

func TestHijack(t *testing.T) {
	type handedOver struct {
		conn     net.Conn
		buffered []byte
	}
	hijacked := make(chan handedOver, 1)
	build := func() *handler.Frames {
		return &handler.Frames{
			IdleTimeout: time.Minute,
			OnFrame: func(c *handler.Client, line []byte) error {
				if string(line) != "raw" {
					return c.WriteFrame(line)
				}
				c.WriteFrame([]byte("over to you"))
				conn, buffered, err := c.Hijack()
				if err != nil {
					t.Error(err)
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, handler.ErrHijacked) {
					t.Errorf("Write after Hijack: %v", err)
				}
				hijacked <- handedOver{conn, buffered}
				return nil
			},
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\nraw\nnot\na line")
		receive(t, conn, "a\nover to you\n")
		mine := <-hijacked
		defer mine.conn.Close()
		// The input after that line is in the buffer, or can still be read.
		rest := "not\na line"
		if !strings.HasPrefix(rest, string(mine.buffered)) {
			t.Errorf("Hijack returned the input %q", mine.buffered)
		}
		mine.conn.SetDeadline(time.Now().Add(patience))
		receive(t, mine.conn, rest[len(mine.buffered):])
		if r := s.records.Next(t); r.Reason != handler.ReasonHijacked || r.FramesIn != 2 {
			t.Errorf("record %+v", r)
		}
		// A drain neither waits for the connection nor affects it.
		if err := s.shutdown(patience); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		send(t, conn, "ping")
		receive(t, mine.conn, "ping")
		send(t, mine.conn, "pong")
		receive(t, conn, "pong")
	})
}

func TestWriteFromManyGoroutinesStaysWhole(t *testing.T) {
	const writers, each = 8, 200
	opened := make(chan *handler.Client, 1)
	build := func() *handler.Frames {
		return &handler.Frames{
			Codec:   unknown{keepEnd},
			OnOpen:  func(c *handler.Client) error { opened <- c; return nil },
			OnFrame: echoLine,
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		c := <-opened
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				line := []byte(strings.Repeat(string(rune('a'+w)), 10+w*w*200) + "\n")
				for range each {
					var err error
					if w%2 == 0 {
						_, err = c.Write(line)
					} else {
						err = c.WriteFrame(line)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			for range each {
				send(t, conn, "zzz\n")
			}
		})
		counts := map[string]int{}
		var in frame.Buffer
		for total := 0; total < (writers+1)*each; {
			n, err := conn.Read(in.Space())
			if err != nil {
				t.Fatalf("after %d lines: %v", total, err)
			}
			in.Filled(n)
			for {
				line, ok, _ := in.Next(frame.Line{}, false)
				if !ok {
					break
				}
				counts[string(line)]++
				total++
			}
		}
		wg.Wait()
		if len(counts) != writers+1 {
			t.Errorf("%d different lines arrived, want %d: messages were mixed", len(counts), writers+1)
		}
	})
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	testutil.Long(t)
	if testutil.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	line := []byte("sixty-four bytes, or near enough to it for a benchmark of lines\n")
	writeFrame := func(c *handler.Client, line []byte) error { return c.WriteFrame(line) }
	for name, test := range map[string]struct {
		h    *handler.Frames
		line []byte
	}{
		"Write":            {echoFrames(), line},
		"WriteFrame":       {&handler.Frames{Codec: keepEnd, OnFrame: writeFrame}, line},
		"an unknown codec": {&handler.Frames{Codec: unknown{keepEnd}, OnFrame: writeFrame}, line},
		"a long frame":     {&handler.Frames{Codec: keepEnd, OnFrame: writeFrame}, append(bytes.Repeat(line[:1], 9<<10), '\n')},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && name == "a long frame" {
				t.Skip("a long frame arrives in pieces there, and the first piece gets a buffer of its own")
			}
			server := tcptest.NewServer(test.h)
			defer server.Close()
			conn := server.Dial()
			defer conn.Close()
			got := make([]byte, len(test.line))
			roundTrip := func() {
				if _, err := conn.Write(test.line); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(conn, got); err != nil {
					t.Fatal(err)
				}
			}
			for range 100 {
				roundTrip()
			}
			if allocs := testing.AllocsPerRun(1000, roundTrip); allocs > 0.1 {
				t.Errorf("%v allocations for a frame", allocs)
			}
		})
	}
}
