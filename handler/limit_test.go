package handler_test

import (
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
	"wireline/internal/testutil"
)

// linesTo returns the lines 0 to n-1, each of the given size.
func linesTo(n, size int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%0*d\n", size-1, i)
	}
	return b.String()
}

// A burst is served at once, and the rest at the rate of the Limit. Nothing is lost, and after a
// time without frames there is a burst again.
func TestLimit(t *testing.T) {
	const size = 10
	for _, test := range []struct {
		limit handler.Limit
		burst int
		rate  float64 // lines a second
	}{
		{handler.Limit{Frames: 10, FrameBurst: 5}, 5, 10},
		{handler.Limit{Frames: 10}, 10, 10},
		{handler.Limit{Frames: 0.1}, 1, 0.1},
		{handler.Limit{Frames: 1000, FrameBurst: 1}, 50, 1000},
		{handler.Limit{Bytes: 10 * size, ByteBurst: 5 * size}, 5, 10},
		{handler.Limit{Bytes: 10 * size}, 10, 10},
		{handler.Limit{Bytes: 1}, 0, 0.1},
		{handler.Limit{Bytes: 1000 * size, ByteBurst: 1}, 50, 1000},
		{handler.Limit{Frames: 10, FrameBurst: 5, Bytes: 1e9}, 5, 10},
		{handler.Limit{Frames: 1e9, Bytes: 10 * size, ByteBurst: 5 * size}, 5, 10},
	} {
		t.Run(fmt.Sprintf("%+v", test.limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := echoFrames()
				h.Limit = test.limit
				conn, ended := handle(t, h, 1<<20)
				for range 2 {
					n := test.burst + max(int(2*test.rate), 5)
					text := linesTo(n, size)
					begin := time.Now()
					send(t, conn, text)
					receive(t, conn, text[:test.burst*size])
					within(t, "the burst was served", time.Since(begin), 0, 50*time.Millisecond)
					receive(t, conn, text[test.burst*size:])
					want := time.Duration(float64(n-test.burst) / test.rate * float64(time.Second))
					within(t, "all was served", time.Since(begin), want*98/100-10*time.Millisecond, want*102/100+50*time.Millisecond)
					time.Sleep(2 * time.Duration(float64(test.burst+1)/test.rate*float64(time.Second)))
				}
				conn.Close()
				if r := ended(); r.Reason != handler.ReasonFIN {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A client below its Limit is served at once.
func TestBelowTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.Limit = handler.Limit{Frames: 10, FrameBurst: 1, Bytes: 50}
		conn, _ := handle(t, h, 1000)
		for range 100 {
			begin := time.Now()
			send(t, conn, "line\n")
			receive(t, conn, "line\n")
			within(t, "served", time.Since(begin), 0, 0)
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A client that waits because of its Limit is not late. The timeouts begin again after the wait.
func TestLimitSuspendsTimeouts(t *testing.T) {
	for name, set := range map[string]func(h *handler.Frames){
		"frames, idle": func(h *handler.Frames) { h.Limit.Frames, h.IdleTimeout = 1, 500*time.Millisecond },
		"frames, read": func(h *handler.Frames) { h.Limit.Frames, h.ReadTimeout = 1, 500*time.Millisecond },
		"bytes, idle":  func(h *handler.Frames) { h.Limit.Bytes, h.Limit.ByteBurst, h.IdleTimeout = 1, 1, 500*time.Millisecond },
		"bytes, read":  func(h *handler.Frames) { h.Limit.Bytes, h.Limit.ByteBurst, h.ReadTimeout = 1, 1, 500*time.Millisecond },
		"bytes, frame": func(h *handler.Frames) { h.Limit.Bytes, h.Limit.ByteBurst, h.FrameTimeout = 1, 1, 500*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := echoFrames()
				set(h)
				conn, ended := handle(t, h, 1000)
				text := linesTo(5, 2) + "x"
				send(t, conn, text)
				receive(t, conn, text[:10])
				time.Sleep(time.Second) // before the last byte there is one more wait
				begin := time.Now()
				receiveAll(t, conn, "")
				within(t, "ended", time.Since(begin), 490*time.Millisecond, 550*time.Millisecond)
				conn.Close()
				if r := ended(); r.By != handler.ByServer || r.BytesIn != 11 {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A client that has not logged in does not gain time by waiting.
func TestLimitAndFirstFrameTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoFrames()
		h.Limit.Bytes, h.FirstFrameTimeout = 1, 10*time.Second
		conn, ended := handle(t, h, 1000)
		begin := time.Now()
		send(t, conn, strings.Repeat("x", 100))
		receiveAll(t, conn, "")
		within(t, "ended", time.Since(begin), 10*time.Second, 11*time.Second)
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonFirstFrameTimeout {
			t.Errorf("record %+v", r)
		}
	})
}

// slowed has limits with which a client waits for a long time after its first line.
var slowed = map[string]handler.Limit{
	"frames": {Frames: 1e-3},
	"bytes":  {Bytes: 1, ByteBurst: 2},
}

// long is the second line of such a client.
var long = strings.Repeat("b", 999) + "\n"

// overLimits runs test over all transports, with a client that waits because of its Limit: "a\n" is
// served, and long and "c\n" have been sent.
func overLimits(t *testing.T, set func(h *handler.Frames), test func(t *testing.T, s *served, conn net.Conn, c *handler.Client)) {
	for name, limit := range slowed {
		t.Run(name, func(t *testing.T) {
			build := func() *handler.Frames {
				h := echoFrames()
				h.Limit = limit
				if set != nil {
					set(h)
				}
				return h
			}
			overAll(t, build, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
				send(t, conn, "a\n"+long+"c\n")
				receive(t, conn, "a\n")
				expectSilence(t, conn)
				test(t, s, conn, c)
			})
		})
	}
}

// A drain does not wait for the Limit: one frame that has arrived is served.
func TestDrainOfALimitedClient(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overLimits(t, nil, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		begin := time.Now()
		if err := s.shutdown(patience); err != nil {
			t.Error(err)
		}
		within(t, "drained", time.Since(begin), 0, slack)
		receiveAll(t, conn, long)
		if r := s.records.Next(t); r.Reason != handler.ReasonDrain || r.FramesIn != 2 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestCloseOfALimitedClient(t *testing.T) {
	overLimits(t, nil, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		c.Close()
		receiveAll(t, conn, "")
		conn.Close()
		if r := s.records.Next(t); r.Reason != handler.ReasonClosed || r.FramesIn != 1 {
			t.Errorf("record %+v", r)
		}
	})
}

func TestMaxLifetimeOfALimitedClient(t *testing.T) {
	testutil.Long(t)
	set := func(h *handler.Frames) { h.MaxLifetime, h.MaxLifetimeJitter = limit, -1 }
	overLimits(t, set, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
		t.Parallel()
		receiveAll(t, conn, long)
		conn.Close()
		if r := s.records.Next(t); r.Reason != handler.ReasonMaxLifetime || r.FramesIn != 2 {
			t.Errorf("record %+v", r)
		}
	})
}

// A RST ends a client that waits at once.
func TestResetOfALimitedClient(t *testing.T) {
	for name, limit := range slowed {
		t.Run(name, func(t *testing.T) {
			overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
				h := echoFrames()
				h.Limit = limit
				s := serve(h)
				conn := s.connect()
				send(t, conn, "a\n"+long)
				receive(t, conn, "a\n")
				expectSilence(t, conn)
				netconn.Reset(conn)
				if r := s.records.Next(t); r.By != handler.ByClient || r.Reason != handler.ReasonReset {
					t.Errorf("record %+v", r)
				}
			}, "tcp")
		})
	}
}

// The client's FIN ends nothing before all frames are served.
func TestFINOfALimitedClient(t *testing.T) {
	testutil.Long(t)
	for name, limit := range map[string]handler.Limit{
		"frames": {Frames: 20, FrameBurst: 1},
		"bytes":  {Bytes: 40, ByteBurst: 2},
	} {
		t.Run(name, func(t *testing.T) {
			build := func() *handler.Frames {
				h := echoFrames()
				h.Limit = limit
				return h
			}
			overAll(t, build, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
				t.Parallel()
				begin := time.Now()
				text := linesTo(9, 2) + "x"
				send(t, conn, text)
				closeWrite(t, conn)
				receiveAll(t, conn, text)
				within(t, "served", time.Since(begin), 380*time.Millisecond, slack)
				if r := s.records.Next(t); r.Reason != handler.ReasonFIN || r.FramesIn != 10 {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A client that sends without a pause gets what the Limit allows, on both pollers, in spite of the
// resolution of their timers; and TCP stops it meanwhile.
func TestLimitOverTransports(t *testing.T) {
	testutil.Long(t)
	const size, rate, seconds = 100, 2000, 1
	for name, limit := range map[string]handler.Limit{
		"frames": {Frames: rate, FrameBurst: 1},
		"bytes":  {Bytes: rate * size, ByteBurst: 1},
	} {
		t.Run(name, func(t *testing.T) {
			build := func() *handler.Frames {
				h := echoFrames()
				h.Limit = limit
				return h
			}
			overAll(t, build, func(t *testing.T, s *served, conn net.Conn, c *handler.Client) {
				t.Parallel()
				var sent atomic.Int64
				var sender sync.WaitGroup
				defer sender.Wait()
				defer conn.Close()
				sender.Go(func() {
					text := []byte(linesTo(1000, size))
					for {
						n, err := conn.Write(text)
						sent.Add(int64(n))
						if err != nil {
							return
						}
					}
				})
				begin := time.Now()
				if _, err := io.CopyN(io.Discard, conn, rate*size*seconds); err != nil {
					t.Fatal(err)
				}
				within(t, "served", time.Since(begin), seconds*time.Second*9/10, seconds*time.Second*11/10+slack)
				if n := sent.Load(); n > 64<<20 {
					t.Errorf("the client could send %d bytes", n)
				}
			})
		})
	}
}

func TestValidateFrames(t *testing.T) {
	for want, h := range map[string]*handler.Frames{
		"": {
			IdleTimeout: 1, MaxLifetime: 2, MaxLifetimeJitter: 2, WriteTimeout: -1,
			Limit: handler.Limit{Frames: 0.1, FrameBurst: 1, Bytes: 1, ByteBurst: 1},
		},
		"IdleTimeout -1ns: must not be negative":                            {IdleTimeout: -1},
		"ReadTimeout -1ns: must not be negative":                            {ReadTimeout: -1},
		"FrameTimeout -1ns: must not be negative":                           {FrameTimeout: -1},
		"FirstFrameTimeout -1ns: must not be negative":                      {FirstFrameTimeout: -1},
		"HandshakeTimeout -1ns: must not be negative":                       {HandshakeTimeout: -1},
		"MaxLifetime -1ns: must not be negative":                            {MaxLifetime: -1, MaxLifetimeJitter: -1},
		"MaxLifetimeJitter 1ns: must not be longer than MaxLifetime":        {MaxLifetimeJitter: 1},
		"Limit.Frames -1: must be a number, and not negative":               {Limit: handler.Limit{Frames: -1}},
		"Limit.Frames NaN: must be a number, and not negative":              {Limit: handler.Limit{Frames: math.NaN()}},
		"Limit.Frames +Inf: must be a number, and not negative":             {Limit: handler.Limit{Frames: math.Inf(1)}},
		"Limit.Bytes -1: must not be negative":                              {Limit: handler.Limit{Bytes: -1}},
		"Limit.FrameBurst -1: must not be negative":                         {Limit: handler.Limit{FrameBurst: -1, Frames: 1}},
		"Limit.ByteBurst -1: must not be negative":                          {Limit: handler.Limit{ByteBurst: -1, Bytes: 1}},
		"Limit.FrameBurst 1: needs a rate\nLimit.ByteBurst 1: needs a rate": {Limit: handler.Limit{FrameBurst: 1, ByteBurst: 1}},
	} {
		got := ""
		if err := h.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Validate: %q, want %q", got, want)
		}
	}
}
