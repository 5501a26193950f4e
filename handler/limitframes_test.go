package handler_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/lib/frame"
)

// A client whose frame does not end is late in spite of its waits, which do not count.
func TestLimitAndFrameTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.Limit.Bytes, h.Limit.ByteBurst = 10, 1
		h.FrameTimeout = 2 * time.Second
		conn, ended := handle(t, h, 1000)
		begin := time.Now()
		over := make(chan struct{})
		go func() {
			defer close(over)
			for range 100 { // before the second byte there is a wait of 100 ms
				if _, err := io.WriteString(conn, "xx"); err != nil {
					return
				}
				time.Sleep(250 * time.Millisecond)
			}
		}()
		receiveAll(t, conn, "")
		within(t, "ended", time.Since(begin), 2*time.Second, 4500*time.Millisecond)
		conn.Close()
		<-over
		if r := ended(); r.Reason != handler.ReasonFrameTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// So is one that does not take what OnIdle writes for a while, again and again.
func TestUnsentAndFrameTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.FrameTimeout, h.ReadTimeout = time.Minute, 10*time.Second
		h.OnIdle = func(c *handler.Client) error { return second(c.Write(make([]byte, 200))) }
		conn, ended := handle(t, h, 100)
		begin := time.Now()
		conn.SetDeadline(begin.Add(time.Hour))
		for {
			if _, err := io.WriteString(conn, "x"); err != nil {
				break
			}
			time.Sleep(6 * time.Second)
			if _, err := io.ReadFull(conn, make([]byte, 200)); err != nil {
				break
			}
		}
		within(t, "ended", time.Since(begin), time.Minute, 2*time.Minute)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonFrameTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// A frame that is discarded counts as one that is served.
func TestLimitOfDiscardedFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{
			Codec: frame.Line{Max: 3, KeepEnd: true}, TooLong: handler.TooLongDiscard, OnFrame: echoLine,
			OnError: func(c *handler.Client, _ error) { io.WriteString(c, "no\n") },
			Limit:   handler.Limit{Frames: 10, FrameBurst: 5},
		}
		conn, ended := handle(t, h, 1000)
		begin := time.Now()
		send(t, conn, strings.Repeat("too long\n", 10)+strings.Repeat("a\n", 5))
		receive(t, conn, strings.Repeat("no\n", 10)+strings.Repeat("a\n", 5))
		within(t, "served", time.Since(begin), 980*time.Millisecond, 1050*time.Millisecond)
		conn.Close()
		ended()
	})
}
