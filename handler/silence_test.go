package handler_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
)

// ReadTimeout counts the silence of the client alone: what the server sends does not keep it alive,
// and what it sends does, also half frames.
func TestReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.IdleTimeout, h.ReadTimeout = time.Minute, 90*time.Second
		h.OnFrame = func(*handler.Client, []byte) error { return nil }
		h.OnError = func(c *handler.Client, err error) {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				io.WriteString(c, "late\n")
			}
		}
		conn, ended := handle(t, h, 1000)
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(30 * time.Second):
				}
				for c := range h.Clients().All() {
					io.WriteString(c, "push\n")
				}
			}
		}()
		for range 10 {
			time.Sleep(50 * time.Second)
			send(t, conn, "a")
		}
		begin := time.Now()
		io.Copy(io.Discard, conn)
		within(t, "ended", time.Since(begin), 90*time.Second, 90*time.Second+50*time.Millisecond)
		conn.Close()
		if r := ended(); r.By != handler.ByServer || r.Reason != handler.ReasonReadTimeout || !errors.Is(r.Err, os.ErrDeadlineExceeded) {
			t.Errorf("record %+v", r)
		}
	})
}

// The longest timeouts never expire.
func TestLongestReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.ReadTimeout = 1<<63 - 1
		conn, ended := handle(t, h, 100)
		for range 3 {
			time.Sleep(time.Hour)
			send(t, conn, "a\n")
			receive(t, conn, "a\n")
		}
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonFIN {
			t.Errorf("record %+v", r)
		}
	})
}

// OnIdle is called after half of ReadTimeout, once for each silence. An answer keeps the client.
func TestOnIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.OnFrame = nil
		h.ReadTimeout = time.Minute
		h.OnIdle = func(c *handler.Client) error {
			_, err := io.WriteString(c, "ping\n")
			return err
		}
		conn, ended := handle(t, h, 100)
		began := time.Now()
		for range 5 {
			receive(t, conn, "ping\n")
			within(t, "pinged", time.Since(began), 30*time.Second, 30*time.Second+50*time.Millisecond)
			time.Sleep(25 * time.Second)
			send(t, conn, "pong\n")
			began = time.Now()
		}
		receiveAll(t, conn, "ping\n")
		within(t, "ended", time.Since(began), time.Minute, time.Minute+100*time.Millisecond)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonReadTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// An error of OnIdle ends the client. While OnIdle runs, the client's silence does not count.
func TestOnIdleEndsAndBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		h := echoFrames()
		h.ReadTimeout = time.Minute
		h.OnIdle = func(c *handler.Client) error {
			if calls++; calls == 2 {
				return handler.ErrQuit
			}
			time.Sleep(time.Hour)
			return nil
		}
		conn, ended := handle(t, h, 100)
		time.Sleep(time.Hour + 50*time.Second)
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		receiveAll(t, conn, "")
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonClosed || calls != 2 {
			t.Errorf("record %+v after %d calls of OnIdle", r, calls)
		}
	})
}

// A client that is held, or whose frame is being served, or that is paused, is not silent. ReadTimeout begins again after that.
func TestReadTimeoutWhileBusy(t *testing.T) {
	for name, busy := range map[string]func(c *handler.Client){
		"frame": func(c *handler.Client) { time.Sleep(time.Hour) },
		"held":  func(c *handler.Client) { time.AfterFunc(time.Hour, c.Hold()) },
		"paused": func(c *handler.Client) {
			c.Pause()
			time.AfterFunc(time.Hour, c.Resume)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := echoFrames()
				h.ReadTimeout = time.Minute
				h.OnFrame = func(c *handler.Client, _ []byte) error { busy(c); return nil }
				conn, ended := handle(t, h, 100)
				began := time.Now()
				send(t, conn, "a\n")
				receiveAll(t, conn, "")
				within(t, "ended", time.Since(began), time.Hour+time.Minute, time.Hour+time.Minute+50*time.Millisecond)
				conn.Close()
				if r := ended(); r.Reason != handler.ReasonReadTimeout {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// Both pollers call OnIdle and end a silent client.
func TestReadTimeoutOverTransports(t *testing.T) {
	t.Parallel()
	build := func() *handler.Frames {
		return &handler.Frames{
			Codec:       keepEnd,
			OnFrame:     echoLine,
			ReadTimeout: limit,
			OnIdle: func(c *handler.Client) error {
				_, err := io.WriteString(c, "ping\n")
				return err
			},
		}
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		t.Parallel()
		punctually(t, "a client", func() error {
			begin := time.Now()
			conn := s.connect()
			defer conn.Close()
			err := echoes(conn, "a\n", "a\n")
			first := time.Since(begin)
			err = cmp.Or(err, echoes(conn, "", "ping\n"))
			sent := time.Now()
			err = cmp.Or(err, echoes(conn, "b\n", ""))
			if second := time.Since(begin); first >= limit || second >= 2*limit {
				s.records.Next(t)
				return fmt.Errorf("%w: a was sent after %v, b after %v", testutil.ErrLate, first, second)
			}
			err = cmp.Or(err, endsWith(conn, "b\nping\n"))
			within(t, "ended", time.Since(sent), limit*9/10, limit+slack)
			conn.Close()
			if r := s.records.Next(t); r.Reason != handler.ReasonReadTimeout {
				t.Errorf("record %+v", r)
			}
			return err
		})
	})
}
