package handler_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/lib/frame"
)

// late makes h tell the client that it is late.
func late(h *handler.Frames) *handler.Frames {
	h.OnError = func(c *handler.Client, err error) {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			io.WriteString(c, "late\n")
		}
	}
	return h
}

// FirstFrameTimeout ends a client that does not complete its first frame, whatever it sends and
// whatever is sent to it.
func TestFirstFrameTimeout(t *testing.T) {
	for name, trickle := range map[string]string{"silent": "", "a frame without an end": "x", "frames that are too long": strings.Repeat("x", 99) + "\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := late(&handler.Frames{
					Codec:             frame.Line{Max: 80},
					TooLong:           handler.TooLongDiscard,
					FirstFrameTimeout: 10 * time.Second,
					OnFrame:           echoLine,
				})
				conn, ended := handle(t, h, 1000)
				begin := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range 9 {
						time.Sleep(time.Second)
						for c := range h.Clients().All() {
							fmt.Fprint(c, "push\n")
						}
						io.WriteString(conn, trickle)
					}
				}()
				receiveAll(t, conn, strings.Repeat("push\n", 9)+"late\n")
				within(t, "ended", time.Since(begin), 10*time.Second, 10*time.Second+50*time.Millisecond)
				<-done
				conn.Close()
				if r := ended(); r.By != handler.ByServer || r.Reason != handler.ReasonFirstFrameTimeout || !errors.Is(r.Err, os.ErrDeadlineExceeded) {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// After the first frame, FirstFrameTimeout does not matter any more.
func TestFirstFrameInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.FirstFrameTimeout = 10 * time.Second
		conn, ended := handle(t, h, 1000)
		time.Sleep(5 * time.Second)
		send(t, conn, "a")
		time.Sleep(4900 * time.Millisecond)
		send(t, conn, "\nb")
		receive(t, conn, "a\n")
		time.Sleep(time.Hour)
		send(t, conn, "\n")
		receive(t, conn, "b\n")
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonFIN {
			t.Errorf("record %+v", r)
		}
	})
}

// While the client cannot log in, FirstFrameTimeout does not run. It begins again after that.
func TestFirstFrameTimeoutBeginsAgain(t *testing.T) {
	for name, open := range map[string]func(c *handler.Client){
		"OnOpen": func(c *handler.Client) { time.Sleep(time.Hour) },
		"held":   func(c *handler.Client) { time.AfterFunc(time.Hour, c.Hold()) },
		"paused": func(c *handler.Client) {
			c.Pause()
			time.AfterFunc(time.Hour, c.Resume)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := echoFrames()
				h.FirstFrameTimeout = time.Minute
				h.OnOpen = func(c *handler.Client) error { open(c); return nil }
				conn, ended := handle(t, h, 1000)
				begin := time.Now()
				receiveAll(t, conn, "")
				within(t, "ended", time.Since(begin), time.Hour+time.Minute, time.Hour+time.Minute+50*time.Millisecond)
				conn.Close()
				if r := ended(); r.Reason != handler.ReasonFirstFrameTimeout {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// Both pollers end a client that does not log in, and no other.
func TestFirstFrameTimeoutOverTransports(t *testing.T) {
	build := func() *handler.Frames {
		h := late(echoFrames())
		h.FirstFrameTimeout = limit
		return h
	}
	overTransports(t, build, func(t *testing.T, s *served) {
		t.Parallel()
		other := s.connect()
		send(t, other, "a\n")
		receive(t, other, "a\n")
		begin := time.Now()
		conn := s.connect()
		send(t, conn, "a")
		receiveAll(t, conn, "late\n")
		within(t, "ended", time.Since(begin), limit, limit+slack)
		conn.Close()
		if r := s.records.Next(t); r.Reason != handler.ReasonFirstFrameTimeout {
			t.Errorf("record %+v", r)
		}
		send(t, other, "b\n")
		receive(t, other, "b\n")
	})
}
