package handler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// handle serves one in-memory connection with h, in the synctest bubble of the caller.
// It returns the client end, and a function that waits for the record.
func handle(t *testing.T, h *handler.Frames, buffer int) (client *tcptest.Conn, ended func() handler.Record) {
	t.Helper()
	client, server := tcptest.PipeSize(buffer)
	records := make(chan handler.Record, 1)
	h.OnRecord = func(r handler.Record) { records <- r }
	go h.Handle(t.Context(), server)
	t.Cleanup(func() { client.Close() })
	return client, func() handler.Record { return <-records }
}

func within(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if err := outside(what, got, least, most); err != nil {
		t.Error(err)
	}
}

// punctually is testutil.InTime where the server is another client's too, so that its limit stays.
func punctually(t *testing.T, what string, try func() error) {
	t.Helper()
	testutil.InTime(t, limit, func(time.Duration) error {
		if err := try(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// outside returns an error if got is not between least and most.
func outside(what string, got, least, most time.Duration) error {
	if got < least || got > most {
		return fmt.Errorf("%s after %v, want %v to %v", what, got, least, most)
	}
	return nil
}

// exchangeSlowly calls exchange n times, with pauses of a quarter of the limit, and returns when
// the last call began. The client acted last before that at the time last. Where the limit has
// passed from then to the end of an exchange, the error is ErrLate.
func exchangeSlowly(last time.Time, n int, exchange func() error) (time.Time, error) {
	for i := range n {
		time.Sleep(limit / 4) // the test needs this delay
		begin := time.Now()
		err := exchange()
		if took := time.Since(last); took >= limit {
			return last, fmt.Errorf("%w: exchange %d took %v", testutil.ErrLate, i, took)
		}
		if err != nil {
			return last, fmt.Errorf("exchange %d: %w", i, err)
		}
		last = begin
	}
	return last, nil
}

// echoes sends text and checks that reply comes back.
func echoes(conn net.Conn, text, reply string) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	got := make([]byte, len(reply))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != reply {
		return fmt.Errorf("read %q, %w; want %q", got[:n], err, reply)
	}
	return nil
}

func TestIdleTimeoutCountsOnlySilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.IdleTimeout = time.Minute
		conn, ended := handle(t, h, 100)
		begin := time.Now()
		for range 20 { // whole and partial frames
			time.Sleep(50 * time.Second)
			send(t, conn, "a\n")
			receive(t, conn, "a\n")
			time.Sleep(50 * time.Second)
			send(t, conn, "b")
			time.Sleep(50 * time.Second)
			send(t, conn, "\n")
			receive(t, conn, "b\n")
		}
		last := time.Now()
		receiveAll(t, conn, "")
		within(t, "closed", time.Since(last), time.Minute, time.Minute)
		r := ended()
		if r.By != handler.ByServer || r.Reason != handler.ReasonIdleTimeout || !errors.Is(r.Err, os.ErrDeadlineExceeded) {
			t.Errorf("record %+v", r)
		}
		within(t, "ended", r.Duration, last.Sub(begin)+time.Minute, last.Sub(begin)+time.Minute+time.Second)
	})
}

func TestPushesResetTheIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := make(chan *handler.Client, 1)
		h := &handler.Frames{
			IdleTimeout: time.Minute,
			OnOpen:      func(c *handler.Client) error { opened <- c; return nil },
		}
		conn, _ := handle(t, h, 100)
		c := <-opened
		for range 5 {
			time.Sleep(50 * time.Second)
			io.WriteString(c, "news\n")
			receive(t, conn, "news\n")
		}
		last := time.Now()
		receiveAll(t, conn, "")
		within(t, "closed", time.Since(last), time.Minute, time.Minute)
	})
}

func TestIdleTimeoutSparesASlowFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{
			IdleTimeout: time.Second,
			OnFrame: func(c *handler.Client, line []byte) error {
				time.Sleep(time.Minute)
				return c.WriteFrame(line)
			},
		}
		conn, _ := handle(t, h, 100)
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		send(t, conn, "b\n")
		receive(t, conn, "b\n")
	})
}

func TestFrameTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.FrameTimeout = 10 * time.Second
		h.OnError = func(c *handler.Client, err error) {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				io.WriteString(c, "too slow\n")
			}
		}
		conn, ended := handle(t, h, 100)
		time.Sleep(time.Hour) // no frame has begun, so the timeout does not run
		send(t, conn, "whole\n")
		receive(t, conn, "whole\n")
		time.Sleep(7 * time.Second)
		begin := time.Now()
		var sender sync.WaitGroup
		sender.Go(func() { // a byte now and then does not extend the timeout
			for range 60 {
				if _, err := io.WriteString(conn, "x"); err != nil {
					return
				}
				time.Sleep(1100 * time.Millisecond) // so that none comes in the moment of the timeout
			}
		})
		receiveAll(t, conn, "too slow\n")
		within(t, "closed", time.Since(begin), 10*time.Second, 10*time.Second)
		conn.Close()
		sender.Wait()
		if r := ended(); r.Reason != handler.ReasonFrameTimeout || r.FramesIn != 1 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestFrameTimeoutRestartsWithEachFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.FrameTimeout = 10 * time.Second
		conn, _ := handle(t, h, 100)
		send(t, conn, "a")
		for range 10 { // the end of one frame and the beginning of the next
			time.Sleep(9 * time.Second)
			send(t, conn, "\na")
			receive(t, conn, "a\n")
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	const buffer = 1000
	build := func() *handler.Frames {
		return &handler.Frames{
			WriteTimeout: 10 * time.Second,
			OnFrame: func(c *handler.Client, line []byte) error {
				_, err := c.Write([]byte(strings.Repeat("x", 5*buffer)))
				return err
			},
		}
	}
	t.Run("a client that never reads is reset", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, ended := handle(t, build(), buffer)
			send(t, conn, "a\n")
			begin := time.Now()
			r := ended()
			within(t, "reset", time.Since(begin), 10*time.Second, 11*time.Second)
			if r.By != handler.ByServer || r.Reason != handler.ReasonWriteTimeout || r.BytesOut != buffer {
				t.Errorf("record %+v", r)
			}
		})
	})
	t.Run("by default", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := build()
			h.WriteTimeout = 0
			conn, ended := handle(t, h, buffer)
			send(t, conn, "a\n")
			begin := time.Now()
			r := ended()
			within(t, "reset", time.Since(begin), 30*time.Second, 32*time.Second)
			if r.Reason != handler.ReasonWriteTimeout {
				t.Errorf("record %+v", r)
			}
		})
	})
	t.Run("never", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := build()
			h.WriteTimeout = -1
			conn, _ := handle(t, h, buffer)
			send(t, conn, "a\n")
			time.Sleep(24 * time.Hour)
			receive(t, conn, strings.Repeat("x", 5*buffer))
		})
	})
	t.Run("a slow one that reads is not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, _ := handle(t, build(), buffer)
			send(t, conn, "a\n")
			piece := make([]byte, buffer/4)
			for range 20 {
				time.Sleep(8 * time.Second)
				if _, err := io.ReadFull(conn, piece); err != nil {
					t.Fatal(err)
				}
			}
			send(t, conn, "b\n")
			receive(t, conn, strings.Repeat("x", 5*buffer))
		})
	})
	t.Run("on a socket", func(t *testing.T) {
		h := &handler.Frames{
			Codec:        keepEnd,
			WriteTimeout: 200 * time.Millisecond,
			OnFrame: func(c *handler.Client, line []byte) error {
				_, err := c.Write(make([]byte, 32<<20))
				return err
			},
		}
		records := newRecords()
		h.OnRecord = records.Add
		server := tcptest.NewServer(h)
		defer server.Close()
		conn := server.Dial()
		defer conn.Close()
		send(t, conn, "a\n")
		if r := records.Next(t); r.Reason != handler.ReasonWriteTimeout {
			t.Errorf("record %+v", r)
		}
		conn.SetDeadline(time.Now().Add(patience))
		receiveReset(t, conn)
	})
}

// A slow frame does not hold back the reply to the frame before it, nor a push to its
// client.
func TestSlowFrameDoesNotHoldOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serving := make(chan *handler.Client, 1)
		h := &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) == "slow" {
				serving <- c
				time.Sleep(time.Minute)
			}
			return c.WriteFrame(line)
		}}
		conn, _ := handle(t, h, 100)
		begin := time.Now()
		send(t, conn, "fast\nslow\n")
		receive(t, conn, "fast\n")
		within(t, "the first reply came", time.Since(begin), 0, 10*time.Millisecond)
		c := <-serving
		time.Sleep(10 * time.Second)
		pushed := time.Now()
		io.WriteString(c, "push\n")
		receive(t, conn, "push\n")
		within(t, "the push came", time.Since(pushed), 0, 10*time.Millisecond)
		receive(t, conn, "slow\n")
		within(t, "the slow reply came", time.Since(begin), time.Minute, time.Minute+time.Second)
	})
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{OnFrame: func(c *handler.Client, line []byte) error {
			io.WriteString(c, "working\n")
			c.Flush()
			time.Sleep(time.Minute)
			return c.WriteFrame(line)
		}}
		conn, _ := handle(t, h, 100)
		begin := time.Now()
		send(t, conn, "a\n")
		receive(t, conn, "working\n")
		within(t, "it came", time.Since(begin), 0, 0)
		receive(t, conn, "a\n")
	})
}

// pushes returns a client that does not read, and a function that pushes to it.
func pushes(t *testing.T, whenSlow handler.WhenSlow) (conn *tcptest.Conn, push func() error, ended func() handler.Record) {
	opened := make(chan *handler.Client, 1)
	h := &handler.Frames{
		MaxPending:   1000,
		WhenSlow:     whenSlow,
		WriteTimeout: time.Minute,
		OnOpen:       func(c *handler.Client) error { opened <- c; return nil },
	}
	conn, ended = handle(t, h, 100)
	c := <-opened
	message := []byte(strings.Repeat("m", 99) + "\n")
	return conn, func() error {
		_, err := c.Write(message)
		synctest.Wait()
		return err
	}, ended
}

func TestWhenSlowDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, push, _ := pushes(t, handler.SlowDrop)
		for i := range 11 { // the client has 100 bytes, and 1000 are pending
			if err := push(); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		for range 3 {
			if err := push(); !errors.Is(err, handler.ErrSlowReader) {
				t.Fatalf("a message over the limit: %v", err)
			}
		}
		receive(t, conn, strings.Repeat(strings.Repeat("m", 99)+"\n", 5))
		synctest.Wait()
		if err := push(); err != nil {
			t.Errorf("after the client has read: %v", err)
		}
		receive(t, conn, strings.Repeat(strings.Repeat("m", 99)+"\n", 7)) // every message is whole
	})
}

func TestWhenSlowClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, push, ended := pushes(t, handler.SlowClose)
		for i := range 11 {
			if err := push(); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		if err := push(); !errors.Is(err, handler.ErrSlowReader) {
			t.Fatalf("a message over the limit: %v", err)
		}
		if r := ended(); r.By != handler.ByServer || r.Reason != handler.ReasonSlowReader {
			t.Errorf("record %+v", r)
		}
		receiveReset(t, conn)
		if err := push(); err == nil {
			t.Error("Write succeeded after the reset")
		}
	})
}

func TestWhenSlowBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, push, _ := pushes(t, handler.SlowBlock)
		pushed := make(chan int, 100)
		go func() {
			for i := range 15 {
				if err := push(); err != nil {
					t.Errorf("message %d: %v", i, err)
				}
				pushed <- i
			}
			close(pushed)
		}()
		time.Sleep(time.Second)
		if n := len(pushed); n != 11 {
			t.Errorf("%d messages were accepted before Write blocked, want 11", n)
		}
		receive(t, conn, strings.Repeat(strings.Repeat("m", 99)+"\n", 15))
		for range pushed {
		}
	})
}

func TestBlockedWriteEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, push, ended := pushes(t, handler.SlowBlock)
		begin := time.Now()
		var err error
		for err == nil {
			err = push()
		}
		within(t, "the blocked Write failed", time.Since(begin), time.Minute, 65*time.Second)
		if r := ended(); r.Reason != handler.ReasonWriteTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// A server that pushes to many clients that never read holds no more output than the
// limit of each.
func TestPushersDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{WhenSlow: handler.SlowDrop, MaxPending: 1000}
		var ends []net.Conn
		for range 10 {
			client, server := tcptest.PipeSize(100)
			ends = append(ends, client)
			go h.Handle(t.Context(), server)
		}
		synctest.Wait()
		begin := time.Now()
		for range 100 {
			for c := range h.Clients().All() {
				c.Write(make([]byte, 100))
			}
		}
		within(t, "all was pushed", time.Since(begin), 0, 0)
		for _, end := range ends {
			end.Close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h.Shutdown(ctx)
	})
}
