package handler_test

import (
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
)

// Before its login a client has short timeouts, after it long ones. The frame function sets them.
func TestSetTimeoutsInOnFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.IdleTimeout, h.FrameTimeout = 10*time.Second, 5*time.Second
		h.OnFrame = func(c *handler.Client, line []byte) error {
			switch string(line) {
			case "login\n":
				c.SetTimeouts(handler.Timeouts{Idle: time.Hour, Frame: -1})
			case "logout\n":
				c.SetTimeouts(handler.Timeouts{})
			}
			return echoLine(c, line)
		}
		conn, ended := handle(t, h, 100)
		say := func(line string) {
			send(t, conn, line)
			receive(t, conn, line)
		}
		time.Sleep(9 * time.Second)
		say("login\n")
		time.Sleep(50 * time.Minute)
		send(t, conn, "a") // no frame timeout
		time.Sleep(50 * time.Minute)
		send(t, conn, "\n")
		receive(t, conn, "a\n")
		time.Sleep(50 * time.Minute)
		say("logout\n")
		begin := time.Now()
		receiveAll(t, conn, "")
		within(t, "ended", time.Since(begin), 10*time.Second, 10*time.Second+50*time.Millisecond)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonIdleTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// A timeout that another goroutine shortens holds at once, although the timer is set for later; one
// that it sets where there was none, too.
func TestSetTimeoutsFromAnotherGoroutine(t *testing.T) {
	for name, test := range map[string]struct {
		long  time.Duration
		set   handler.Timeouts
		after time.Duration // after the last byte
		why   handler.Reason
	}{
		"shorter idle":       {time.Hour, handler.Timeouts{Idle: 10 * time.Second}, 10 * time.Second, handler.ReasonIdleTimeout},
		"expired idle":       {time.Hour, handler.Timeouts{Idle: time.Second}, 5 * time.Second, handler.ReasonIdleTimeout},
		"new idle":           {0, handler.Timeouts{Idle: 10 * time.Second}, 10 * time.Second, handler.ReasonIdleTimeout},
		"shorter read":       {time.Hour, handler.Timeouts{Read: 10 * time.Second}, 10 * time.Second, handler.ReasonReadTimeout},
		"new read":           {0, handler.Timeouts{Read: 10 * time.Second}, 10 * time.Second, handler.ReasonReadTimeout},
		"shorter frame":      {time.Hour, handler.Timeouts{Frame: 10 * time.Second}, 10 * time.Second, handler.ReasonFrameTimeout},
		"new frame":          {0, handler.Timeouts{Frame: 10 * time.Second}, 10 * time.Second, handler.ReasonFrameTimeout},
		"shorter first":      {time.Hour, handler.Timeouts{FirstFrame: 10 * time.Second}, 10 * time.Second, handler.ReasonFirstFrameTimeout},
		"new first":          {0, handler.Timeouts{FirstFrame: 10 * time.Second}, 10 * time.Second, handler.ReasonFirstFrameTimeout},
		"shorter than other": {20 * time.Second, handler.Timeouts{Idle: 15 * time.Second, Frame: time.Minute, Read: time.Minute, FirstFrame: -1}, 15 * time.Second, handler.ReasonIdleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := echoFrames()
				h.IdleTimeout, h.ReadTimeout, h.FrameTimeout, h.FirstFrameTimeout = test.long, test.long, test.long, test.long
				opened := opens(h)
				conn, ended := handle(t, h, 100)
				c := <-opened
				send(t, conn, "a")
				begin := time.Now()
				time.Sleep(5 * time.Second)
				c.SetTimeouts(test.set)
				receiveAll(t, conn, "")
				within(t, "ended", time.Since(begin), test.after, test.after+50*time.Millisecond)
				conn.Close()
				if r := ended(); r.Reason != test.why {
					t.Errorf("record %+v, want reason %s", r, test.why)
				}
			})
		})
	}
}

// A write timeout ends a client whose output waits already, also while its function waits in Write.
func TestSetTimeoutsOfABlockedWrite(t *testing.T) {
	for name, write := range map[string]func(c *handler.Client) error{
		"push":     nil,
		"function": writeForEver,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &handler.Frames{MaxPending: 1000, WriteTimeout: -1}
				h.OnFrame = func(c *handler.Client, _ []byte) error { return write(c) }
				opened := opens(h)
				conn, ended := handle(t, h, 100)
				c := <-opened
				if write == nil {
					c.Write(make([]byte, 500))
				} else {
					send(t, conn, "a\n")
				}
				time.Sleep(time.Second)
				begin := time.Now()
				c.SetTimeouts(handler.Timeouts{Write: 10 * time.Second})
				r := ended()
				within(t, "ended", time.Since(begin), 10*time.Second, 11*time.Second)
				if r.Reason != handler.ReasonWriteTimeout {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// OnIdle is called after half of the client's own ReadTimeout.
func TestSetTimeoutsAndOnIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.OnIdle = func(c *handler.Client) error { return second(c.Write([]byte("ping\n"))) }
		h.OnOpen = func(c *handler.Client) error {
			c.SetTimeouts(handler.Timeouts{Read: time.Minute})
			return nil
		}
		h.ReadTimeout = time.Hour
		conn, ended := handle(t, h, 100)
		begin := time.Now()
		receive(t, conn, "ping\n")
		within(t, "pinged", time.Since(begin), 30*time.Second, 30*time.Second+50*time.Millisecond)
		receiveAll(t, conn, "")
		within(t, "ended", time.Since(begin), time.Minute, time.Minute+100*time.Millisecond)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonReadTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// Both pollers take a new timeout at once. SetTimeouts of clients that come and go is harmless.
func TestSetTimeoutsOverTransports(t *testing.T) {
	build := func() *handler.Frames {
		h := echoFrames()
		h.IdleTimeout = patience
		return h
	}
	overAll(t, build, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		t.Parallel()
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		begin := time.Now()
		stop := make(chan struct{})
		var setter sync.WaitGroup
		setter.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c.SetTimeouts(handler.Timeouts{Idle: limit})
					time.Sleep(time.Millisecond)
				}
			}
		})
		receiveAll(t, conn, "")
		within(t, "ended", time.Since(begin), limit*9/10, limit+slack)
		conn.Close()
		if r := s.records.Next(t); r.Reason != handler.ReasonIdleTimeout {
			t.Errorf("record %+v", r)
		}
		close(stop)
		setter.Wait()
		c.SetTimeouts(handler.Timeouts{Write: time.Millisecond})
	})
}

// A client that has ended and takes nothing has the WriteTimeout that somebody has set, also one that is
// as long as the default, and ten seconds if nobody has.
func TestLastWriteTimeout(t *testing.T) {
	const s = time.Second
	for name, test := range map[string]struct {
		all, own, want time.Duration
	}{
		"default":               {0, 0, 10 * s},
		"set, as the default":   {30 * s, 0, 30 * s},
		"own, as the default":   {0, 30 * s, 30 * s},
		"own instead of all":    {20 * s, 30 * s, 30 * s},
		"own":                   {0, 40 * s, 40 * s},
		"own, shorter":          {0, 5 * s, 5 * s},
		"none":                  {-1, 0, 10 * s},
		"own none":              {20 * s, -1, 10 * s},
		"own instead of none":   {-1, 30 * s, 30 * s},
		"own of another field":  {0, 0, 10 * s},
		"all and another field": {20 * s, 0, 20 * s},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &handler.Frames{WriteTimeout: test.all}
				opened := opens(h)
				_, ended := handle(t, h, 100)
				c := <-opened
				if test.own != 0 || strings.Contains(name, "another") {
					c.SetTimeouts(handler.Timeouts{Idle: time.Hour, Write: test.own})
				}
				c.Write(make([]byte, 500))
				begin := time.Now()
				c.Close()
				ended()
				within(t, "ended", time.Since(begin), test.want, test.want+2*s)
			})
		})
	}
}

// A new ReadTimeout does not give the client more time for its first frame.
func TestSetTimeoutsKeepsFirstFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.FirstFrameTimeout = 10 * time.Second
		opened := opens(h)
		conn, ended := handle(t, h, 100)
		c := <-opened
		begin := time.Now()
		time.Sleep(5 * time.Second)
		send(t, conn, "a")
		synctest.Wait() // it is read
		c.SetTimeouts(handler.Timeouts{Read: time.Hour})
		receiveAll(t, conn, "")
		within(t, "ended", time.Since(begin), 10*time.Second, 10*time.Second+50*time.Millisecond)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonFirstFrameTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// OnIdle is called in the first silence of a new ReadTimeout, also if that of an earlier one had been
// in the middle of a silence.
func TestSetTimeoutsAndOnIdleAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.OnIdle = func(c *handler.Client) error { return second(c.Write([]byte("ping\n"))) }
		h.ReadTimeout = time.Minute
		opened := opens(h)
		conn, ended := handle(t, h, 100)
		c := <-opened
		receive(t, conn, "ping\n")
		c.SetTimeouts(handler.Timeouts{Read: -1})
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		time.Sleep(time.Hour)
		send(t, conn, "b\n")
		receive(t, conn, "b\n")
		c.SetTimeouts(handler.Timeouts{})
		begin := time.Now()
		receiveAll(t, conn, "ping\n")
		within(t, "ended", time.Since(begin), time.Minute, time.Minute+100*time.Millisecond)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonReadTimeout {
			t.Errorf("record %+v", r)
		}
	})
}
