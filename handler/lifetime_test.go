package handler_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
)

// lived returns an echo handler with a MaxLifetime of a minute.
func lived() *handler.Frames {
	h := echoFrames()
	h.MaxLifetime, h.MaxLifetimeJitter = time.Minute, -1
	return h
}

// keepSending sends text now, and again after each pause, until stop is called.
func keepSending(conn net.Conn, text string, pause time.Duration) (stop func()) {
	done := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
		}
	})
	return func() {
		close(done)
		sender.Wait()
	}
}

// MaxLifetime ends a client whether it is silent or not.
func TestMaxLifetime(t *testing.T) {
	for name, pause := range map[string]time.Duration{"silent": time.Hour, "busy": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := lived()
				h.IdleTimeout = 2 * time.Hour
				h.OnEnd = func(c *handler.Client) { fmt.Fprintln(c, "bye", c.Record().Reason) }
				conn, ended := handle(t, h, 1000)
				begin := time.Now()
				defer keepSending(conn, "a\n", pause)()
				got, err := io.ReadAll(conn)
				within(t, "ended", time.Since(begin), time.Minute, time.Minute+50*time.Millisecond)
				if want := "bye max_lifetime\n"; err != nil || len(got) < len(want) || string(got[len(got)-len(want):]) != want {
					t.Errorf("read %q, %v", got, err)
				}
				conn.Close()
				if r := ended(); r.By != handler.ByServer || r.Reason != handler.ReasonMaxLifetime || r.Err != nil {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// The reply to a frame that is being served at the end is delivered, also one that a goroutine
// gives, or one whose client is paused. What follows is not served.
func TestMaxLifetimeWhileBusy(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(c *handler.Client)
		least time.Duration
	}{
		"frame":  {func(c *handler.Client) { time.Sleep(time.Hour) }, time.Hour},
		"held":   {func(c *handler.Client) { time.AfterFunc(time.Hour, c.Hold()) }, time.Hour},
		"paused": {(*handler.Client).Pause, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := lived()
				h.MaxInFlight = 1
				h.OnFrame = func(c *handler.Client, line []byte) error {
					test.serve(c)
					return echoLine(c, line)
				}
				conn, ended := handle(t, h, 1000)
				begin := time.Now()
				send(t, conn, "a\nb\nc")
				receiveAll(t, conn, "a\n")
				within(t, "ended", time.Since(begin), test.least, test.least+50*time.Millisecond)
				conn.Close()
				if r := ended(); r.Reason != handler.ReasonMaxLifetime {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A frame that has begun at the end may be completed within a second.
func TestMaxLifetimeWithinAFrame(t *testing.T) {
	for name, test := range map[string]struct {
		pause   time.Duration
		replies string
	}{
		"completed":     {900 * time.Millisecond, "a\n"},
		"not completed": {1100 * time.Millisecond, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, ended := handle(t, lived(), 1000)
				begin := time.Now()
				time.Sleep(59 * time.Second)
				send(t, conn, "a")
				time.Sleep(time.Second + test.pause)
				io.WriteString(conn, "\nb\nc\n")
				receiveAll(t, conn, test.replies)
				within(t, "ended", time.Since(begin), 60*time.Second, 62*time.Second)
				conn.Close()
				if r := ended(); r.Reason != handler.ReasonMaxLifetime || r.Duration > 63*time.Second {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A client that does not take its replies does not outlive MaxLifetime by much, also while its
// function waits in Write.
func TestMaxLifetimeOfAClientThatDoesNotRead(t *testing.T) {
	for name, write := range map[string]func(c *handler.Client) error{
		"reply":    func(c *handler.Client) error { return second(c.Write(make([]byte, 500))) },
		"function": writeForEver,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := lived()
				h.MaxPending, h.WriteTimeout = 1000, -1
				h.OnFrame = func(c *handler.Client, _ []byte) error { return write(c) }
				conn, ended := handle(t, h, 100)
				send(t, conn, "a\n")
				begin := time.Now()
				r := ended()
				within(t, "ended", time.Since(begin), 70*time.Second, 72*time.Second)
				if r.Reason != handler.ReasonMaxLifetime && r.Reason != handler.ReasonWriteTimeout {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// The client's FIN at the end of MaxLifetime, and a drain then, keep their reasons.
func TestMaxLifetimeAndOtherEnds(t *testing.T) {
	for _, reason := range []handler.Reason{handler.ReasonFIN, handler.ReasonDrain} {
		synctest.Test(t, func(t *testing.T) {
			h := lived()
			h.OnFrame = func(c *handler.Client, line []byte) error {
				time.Sleep(2 * time.Minute)
				return echoLine(c, line)
			}
			conn, ended := handle(t, h, 100)
			send(t, conn, "a\n")
			time.Sleep(time.Minute + time.Second)
			if reason == handler.ReasonFIN {
				closeWrite(t, conn)
			} else {
				go h.Shutdown(t.Context())
			}
			receiveAll(t, conn, "a\n")
			conn.Close()
			// Whether the FIN was read when the frame ended is a matter of chance.
			if r := ended(); r.Reason != reason && reason != handler.ReasonFIN {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// The shortest MaxLifetime is over when the client is accepted.
func TestShortestMaxLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := lived()
		h.MaxLifetime = 1
		conn, ended := handle(t, h, 100)
		receiveAll(t, conn, "")
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonMaxLifetime {
			t.Errorf("record %+v", r)
		}
	})
}

// The longest MaxLifetime never ends.
func TestLongestMaxLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 10 {
			h := echoFrames()
			h.MaxLifetime = 1<<63 - 1
			conn, ended := handle(t, h, 100)
			time.Sleep(1000 * time.Hour)
			send(t, conn, "a\n")
			receive(t, conn, "a\n")
			conn.Close()
			if r := ended(); r.Reason != handler.ReasonFIN {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// Both pollers end a client in time, one that never stops sending too.
func TestMaxLifetimeOverTransports(t *testing.T) {
	build := func() *handler.Frames {
		h := echoFrames()
		h.MaxLifetime, h.MaxLifetimeJitter = limit, -1
		h.IdleTimeout = patience
		return h
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		t.Parallel()
		for _, pause := range []time.Duration{patience, time.Millisecond} {
			begin := time.Now()
			conn := s.connect()
			stop := keepSending(conn, "a\na\na\na\n", pause)
			if n, err := io.Copy(io.Discard, conn); n == 0 || err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
			within(t, "ended", time.Since(begin), limit, limit+slack)
			conn.Close()
			stop()
			if r := s.records.Next(t); r.Reason != handler.ReasonMaxLifetime {
				t.Errorf("record %+v", r)
			}
		}
	})
}
