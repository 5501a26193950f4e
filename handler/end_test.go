package handler_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/logger"
	"wireline/tcptest"
)

// OnEnd is called when the end begins, once, although the client keeps its side open and OnClose
// has to wait for that. What it writes is the last message.
func TestOnEndComesFirst(t *testing.T) {
	var ends, closes chan handler.Reason
	build := func() *handler.Frames {
		ends, closes = make(chan handler.Reason, 10), make(chan handler.Reason, 10)
		return &handler.Frames{
			Codec: keepEnd,
			OnFrame: func(c *handler.Client, line []byte) error {
				c.Write(line)
				return handler.ErrQuit
			},
			OnEnd: func(c *handler.Client) {
				io.WriteString(c, "bye\n")
				ends <- c.Record().Reason
			},
			OnClose: func(c *handler.Client) { closes <- c.Record().Reason },
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "quit\n")
		receiveAll(t, conn, "quit\nbye\n")
		if why := testutil.Await(t, "OnEnd", ends); why != handler.ReasonClosed {
			t.Errorf("in OnEnd the reason is %s", why)
		}
		if len(closes) > 0 && conn.LocalAddr().Network() == "tcp" {
			t.Log("OnClose was not waited for") // on a busy machine
		}
		conn.Close()
		if why := testutil.Await(t, "OnClose", closes); why != handler.ReasonClosed {
			t.Errorf("in OnClose the reason is %s", why)
		}
		s.records.Next(t)
		if len(ends)+len(closes) > 0 {
			t.Error("OnEnd or OnClose was called twice")
		}
	})
}

// Between OnEnd and OnClose lies the lingering close. OnEnd waits for the frame function.
func TestWhenOnEndIsCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ended, closed time.Duration
		h := &handler.Frames{
			Codec: keepEnd,
			OnFrame: func(c *handler.Client, line []byte) error {
				c.Close()
				time.Sleep(time.Minute)
				return nil
			},
			OnEnd:   func(*handler.Client) { ended = time.Since(began) },
			OnClose: func(*handler.Client) { closed = time.Since(began) },
		}
		conn, record := handle(t, h, 100)
		send(t, conn, "x\n")
		receiveAll(t, conn, "")
		record()
		if ended != time.Minute || closed != time.Minute+2*time.Second {
			t.Errorf("OnEnd was called after %v, OnClose after %v; want 1m and 1m2s", ended, closed)
		}
	})
}

// OnEnd is called for every end, not for a client whose OnOpen has failed. A panic in it does
// not keep the client open.
func TestOnEndOfEveryEnd(t *testing.T) {
	silenceLog(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ends []handler.Reason
		h := &handler.Frames{
			Codec:       keepEnd,
			IdleTimeout: time.Minute,
			OnFrame: func(c *handler.Client, line []byte) error {
				if string(line) == "panic\n" {
					panic("test")
				}
				return nil
			},
			OnEnd: func(c *handler.Client) {
				mu.Lock() // as in OnFrame
				defer mu.Unlock()
				ends = append(ends, c.Record().Reason)
				if c.Record().Reason == handler.ReasonFIN {
					panic("test")
				}
			},
		}
		fin, record := handle(t, h, 100)
		dial := func() *tcptest.Conn {
			client, server := tcptest.PipeSize(100)
			go h.Handle(t.Context(), server)
			return client
		}
		closeWrite(t, fin)
		receiveAll(t, fin, "")
		record()
		panics := dial()
		send(t, panics, "panic\n")
		receiveAll(t, panics, "")
		panics.Close()
		record()
		idle := dial()
		receiveAll(t, idle, "")
		idle.Close()
		record()
		reset := dial()
		synctest.Wait()
		reset.Reset()
		record()
		drained := dial()
		synctest.Wait()
		go h.Close()
		receiveAll(t, drained, "")
		drained.Close()
		record()
		mu.Lock()
		defer mu.Unlock()
		want := []handler.Reason{handler.ReasonFIN, handler.ReasonPanic, handler.ReasonIdleTimeout, handler.ReasonReset, handler.ReasonDrain}
		if len(ends) != len(want) {
			t.Fatalf("ends %v, want %v", ends, want)
		}
		for i, why := range want {
			if ends[i] != why {
				t.Errorf("end %d is %s, want %s", i, ends[i], why)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{
			OnOpen: func(*handler.Client) error { return handler.ErrQuit },
			OnEnd:  func(*handler.Client) { t.Error("OnEnd was called") },
		}
		conn, record := handle(t, h, 100)
		receiveAll(t, conn, "")
		conn.Close()
		record()
	})
}

// The application's own reason is in the record, and so are its attributes.
func TestCloseForAndSetAttr(t *testing.T) {
	tired := errors.New("tired of you")
	var writes chan error
	build := func() *handler.Frames {
		writes = make(chan error, 1)
		return &handler.Frames{
			Codec: keepEnd,
			OnFrame: func(c *handler.Client, line []byte) error {
				c.SetAttr(slog.String("device", "d1"), slog.Int("version", 1))
				before := c.Record().Attrs
				c.SetAttr(slog.Int("version", 2))
				if before[1].Value.Int64() != 1 {
					t.Error("SetAttr has changed an earlier record")
				}
				c.Write(line)
				return c.CloseFor(tired)
			},
			OnClose: func(c *handler.Client) {
				_, err := c.Write([]byte("x"))
				writes <- err
			},
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\n")
		receiveAll(t, conn, "a\n")
		conn.Close()
		r := s.records.Next(t)
		if r.By != handler.ByServer || r.Reason != handler.ReasonApplication || r.Err != tired {
			t.Errorf("record %+v", r)
		}
		if err := <-writes; !errors.Is(err, tired) || !errors.Is(err, handler.ErrClosed) {
			t.Errorf("Write after the end: %v", err)
		}
		var log bytes.Buffer
		handler.LogRecords(logTo(&log))(r)
		logger.Flush(patience)
		if got := log.String(); !strings.Contains(got, "level=INFO") || !strings.Contains(got, ` device=d1 version=2 by=server reason=application err="tired of you"`) {
			t.Errorf("logged %s", got)
		}
		log.Reset()
		handler.LogFailures(logTo(&log))(r)
		r.Reason = handler.ReasonHandlerError
		handler.LogFailures(logTo(&log))(r)
		logger.Flush(patience)
		if got := log.String(); !strings.HasPrefix(got, "level=WARN") || !strings.Contains(got, " device=d1 version=2 by=server ") {
			t.Errorf("logged %s", got)
		}
	})
}

// As soon as the record says that the client has reset the connection, a Write returns that error.
func TestWriteAfterReset(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("other errors")
	}
	var clients chan *handler.Client
	var writes chan error
	build := func() *handler.Frames {
		clients, writes = make(chan *handler.Client, 1), make(chan error, 1)
		return &handler.Frames{
			OnFrame: func(c *handler.Client, _ []byte) error { clients <- c; return nil },
			OnEnd: func(c *handler.Client) {
				_, err := c.Write([]byte("x"))
				writes <- err
			},
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		if conn.LocalAddr().Network() == "unix" {
			t.Skip("no RST")
		}
		send(t, conn, "a\n")
		c := testutil.Await(t, "the client", clients)
		reset(conn)
		if err := testutil.Await(t, "OnEnd", writes); !errors.Is(err, handler.ErrClosed) || c.Record().Reason != handler.ReasonReset {
			t.Errorf("Write: %v; record %+v", err, c.Record())
		}
	})
}
