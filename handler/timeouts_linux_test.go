package handler_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/frame"
)

// These tests check timeouts over sockets, and so the timers of the event loops. Timeouts
// must not expire early. Package eventloop tests that they do not expire late, on its own
// clock, because the machine may be busy.

// large is more than a socket holds.
var large = make([]byte, 8<<20)

// onTime returns an error unless limit has passed since begin, and not much more.
func onTime(what string, begin time.Time) error {
	return outside(what, time.Since(begin), limit, limit+slack)
}

// reportErrors makes h tell the client why it ends the client.
func reportErrors(h *handler.Frames) *handler.Frames {
	h.OnError = func(c *handler.Client, err error) {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			io.WriteString(c, "too slow\n")
		}
	}
	return h
}

func TestIdleTimeoutOverSockets(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	tests := map[string]struct {
		n        int
		exchange func(net.Conn, *handler.Client) error
	}{
		"sends nothing":      {0, nil},
		"sends half a frame": {1, func(conn net.Conn, _ *handler.Client) error { return echoes(conn, "half", "") }},
		"sends frames":       {6, func(conn net.Conn, _ *handler.Client) error { return echoes(conn, "a\n", "a\n") }},
		"sends bytes":        {6, func(conn net.Conn, _ *handler.Client) error { return echoes(conn, "a", "") }},
		"is written to": {6, func(conn net.Conn, c *handler.Client) error {
			io.WriteString(c, "news\n")
			return echoes(conn, "", "news\n")
		}},
	}
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := reportErrors(echoFrames())
		h.IdleTimeout = limit
		meet := meets(opens(h), serve(h).connect)
		var all sync.WaitGroup
		defer all.Wait()
		for what, test := range tests {
			all.Go(func() {
				punctually(t, "a client that "+what, func() error {
					begin := time.Now()
					conn, c := meet()
					last, err := exchangeSlowly(begin, test.n, func() error { return test.exchange(conn, c) })
					if err == nil {
						err = endsWith(conn, "too slow\n")
					}
					if err != nil {
						return err
					}
					if r := c.Record(); r.By != handler.ByServer || r.Reason != handler.ReasonIdleTimeout || !errors.Is(r.Err, os.ErrDeadlineExceeded) {
						return fmt.Errorf("record %+v", r)
					}
					return onTime("closed", last)
				})
			})
		}
	})
}

// Timers work again after they have fired: for the next client, and after a while
// without events.
func TestTimeoutsFireRepeatedly(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := reportErrors(echoFrames())
		h.IdleTimeout = limit
		s := serve(h)
		for i := range 3 {
			begin := time.Now()
			conn := s.connect()
			if i == 1 {
				send(t, conn, "a\n")
				receive(t, conn, "a\n")
			}
			receiveAll(t, conn, "too slow\n")
			if err := onTime("a client was closed", begin); err != nil {
				t.Error(err)
			}
		}
	}, "tcp")
}

// The idle timeout starts at the end of a frame that took longer than the timeout.
func TestIdleTimeoutSparesASlowFrameOverSockets(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		replied := make(chan time.Time, 1)
		h := reportErrors(&handler.Frames{Codec: keepEnd, IdleTimeout: limit, OnFrame: func(c *handler.Client, line []byte) error {
			time.Sleep(2 * limit) // the test needs this delay
			replied <- time.Now()
			return echoLine(c, line)
		}})
		conn := serve(h).connect()
		send(t, conn, "a\n")
		receive(t, conn, "a\n")
		receiveAll(t, conn, "too slow\n")
		within(t, "closed", time.Since(<-replied), limit*9/10, limit+slack)
	})
}

func TestFrameTimeoutOverSockets(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := reportErrors(echoFrames())
		h.FrameTimeout = limit
		meet := meets(opens(h), serve(h).connect)
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() {
			begin := time.Now()
			conn, c := meet()
			var sender sync.WaitGroup
			sender.Go(func() {
				for range 20 {
					if _, err := io.WriteString(conn, "x"); err != nil {
						return // the connection is closed
					}
					time.Sleep(limit / 10)
				}
			})
			if err := cmp.Or(endsWith(conn, "too slow\n"), onTime("closed", begin)); err != nil {
				t.Error("a client that sends single bytes: ", err)
			}
			conn.Close()
			sender.Wait()
			if r := c.Record(); r.By != handler.ByServer || r.Reason != handler.ReasonFrameTimeout || r.FramesIn != 0 {
				t.Errorf("record %+v", r)
			}
		})
		silent, _ := meet()
		all.Go(func() {
			punctually(t, "a client that ends each frame and begins the next", func() error {
				conn, _ := meet()
				text, reply := "a", ""
				last, err := exchangeSlowly(time.Now(), 7, func() error {
					defer func() { text, reply = "\na", "a\n" }()
					return echoes(conn, text, reply)
				})
				if err == nil {
					err = endsWith(conn, "too slow\n")
				}
				return cmp.Or(err, onTime("closed", last))
			})
			if err := echoes(silent, "a\n", "a\n"); err != nil { // no frame has begun, so the timeout does not run
				t.Error("a client that has not begun a frame: ", err)
			}
		})
	})
}

// FrameTimeout does not run while the server does not read because its output is
// blocked: the rest of the frame may be waiting in the socket.
func TestFrameTimeoutWhileOutputWaits(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	big := strings.Repeat("x", len(large))
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := reportErrors(&handler.Frames{FrameTimeout: limit, OnFrame: func(c *handler.Client, line []byte) error {
			if string(line) == "big" {
				_, err := io.WriteString(c, big)
				return err
			}
			return c.WriteFrame(line)
		}})
		conn := serve(h).connect()
		send(t, conn, "big\nha")
		receive(t, conn, "x")
		send(t, conn, "lf\n")
		time.Sleep(2 * limit) // the test needs this delay
		receive(t, conn, big[1:])
		receive(t, conn, "half\n")
	})
}

// Timeouts run as usual after a reply that the client has read slowly.
func TestTimeoutsAfterABlockedReply(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	big := strings.Repeat("x", len(large))
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		for what, h := range map[string]*handler.Frames{
			"big\n":     {IdleTimeout: 3 * limit},
			"big\nhalf": {FrameTimeout: 3 * limit},
		} {
			h.OnFrame = func(c *handler.Client, _ []byte) error {
				_, err := io.WriteString(c, big)
				return err
			}
			conn := serve(reportErrors(h)).connect()
			send(t, conn, what)
			receive(t, conn, "x")
			time.Sleep(limit / 4) // the rest of the reply is pending
			receive(t, conn, big[1:])
			begin := time.Now()
			receiveAll(t, conn, "too slow\n")
			within(t, "closed", time.Since(begin), 0, 3*limit+slack)
		}
	})
}

// A client that accepts nothing is reset in time, and until then no more output is kept
// for it than allowed.
func TestWriteTimeoutOverSockets(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	const pending, message = 64 << 10, 4 << 10
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		var last time.Time // when the last message was accepted
		accepted := int64(0)
		h := &handler.Frames{WriteTimeout: limit, MaxPending: pending, OnFrame: func(c *handler.Client, _ []byte) error {
			for {
				n, err := c.Write(make([]byte, message))
				if err != nil {
					return err
				}
				accepted += int64(n)
				last = time.Now()
			}
		}}
		s := serve(h)
		conn := s.connect()
		send(t, conn, "a\n")
		r := s.records.Next(t)
		took := time.Since(last)
		// The timeout is accurate to a sixteenth. It starts at the last byte that the
		// socket has accepted, which may be a little before the last message.
		within(t, "reset", took, limit-limit/8, limit+slack)
		if r.By != handler.ByServer || r.Reason != handler.ReasonWriteTimeout {
			t.Errorf("record %+v", r)
		}
		if kept := accepted - r.BytesOut; kept < 0 || kept > pending+message {
			t.Errorf("%d bytes were pending, want at most %d", kept, pending)
		}
		_, err := io.Copy(io.Discard, conn)
		if reset := errors.Is(err, syscall.ECONNRESET); reset != (conn.LocalAddr().Network() == "tcp") {
			t.Errorf("the stream ended with %v", err)
		}
	})
}

// The write timeout also ends a push that the client does not accept, even if nothing
// else happens.
func TestWriteTimeoutOfAPush(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := &handler.Frames{WriteTimeout: limit}
		opened := opens(h)
		s := serve(h)
		s.connect()
		c := <-opened
		begin := time.Now()
		if _, err := c.Write(large); err != nil {
			t.Fatal(err)
		}
		r := s.records.Next(t)
		within(t, "reset", time.Since(begin), limit-limit/8, limit+slack)
		if r.Reason != handler.ReasonWriteTimeout {
			t.Errorf("record %+v", r)
		}
		if _, err := c.Write([]byte("more")); !errors.Is(err, handler.ErrClosed) {
			t.Errorf("Write after the end: %v", err)
		}
	})
}

// The idle timeout ends a client that accepts no output, but not one that accepts some.
func TestIdleTimeoutOfAPush(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := &handler.Frames{IdleTimeout: limit}
		opened := opens(h)
		s := serve(h)
		s.connect()
		c := <-opened
		begin := time.Now()
		if _, err := c.Write(large); err != nil {
			t.Fatal(err)
		}
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonIdleTimeout {
			t.Errorf("record %+v", r)
		}
		within(t, "ended", time.Since(begin), limit-limit/8, limit+slack)
	})
}

// Without any timeout, Close ends a client whose frame function waits in Write, after
// ten seconds without progress.
func TestCloseEndsAFunctionThatWaitsInWrite(t *testing.T) {
	if testutil.Reduced() {
		t.Skip("waits for ten seconds")
	}
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := &handler.Frames{MaxPending: 64 << 10, OnFrame: func(c *handler.Client, _ []byte) error { return writeForEver(c) }}
		opened := opens(h)
		s := serve(h)
		conn := s.connect()
		send(t, conn, "a\n")
		c := <-opened
		// Write waits when the socket has accepted nothing for a moment.
		for before := int64(-1); before <= 0 || before != c.Record().BytesOut; {
			before = c.Record().BytesOut
			time.Sleep(50 * time.Millisecond)
		}
		begin := time.Now()
		c.Close()
		r := s.records.Next(t)
		within(t, "reset", time.Since(begin), 5*time.Second, 10*time.Second+slack)
		if r.By != handler.ByServer || r.Reason != handler.ReasonClosed {
			t.Errorf("record %+v", r)
		}
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the stream ended with %v", err)
		}
	}, "tcp")
}

// A client that accepts a little now and then is slow, and is not ended. Over TCP it
// accepts so little within the limit that the socket does not become writable again; only
// Conn.Unsent shows the progress. On a busy machine the client itself may be kept from
// reading for so long that it is ended with good reason: then the test starts again.
func TestSlowReaderStays(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	const limit, tries = 2 * limit, 10
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		for try := 1; ; try++ {
			begin := time.Now()
			var clients []*slowReader
			for _, h := range []*handler.Frames{{WriteTimeout: limit}, {IdleTimeout: limit}} {
				clients = append(clients, newSlowReader(t, h, serve))
			}
			longest, err := readSlowly(clients, limit, begin)
			switch {
			case err == nil:
				if r := clients[0].client.Record(); r.BytesOut == int64(len(large)) {
					t.Error("everything was sent, so nothing was pending")
				}
				return
			case longest < limit/4 || try == tries: // two pieces show progress, and that is seen later
				t.Fatalf("%v; the longest pause between two reads was %v", err, longest)
			}
			t.Logf("try %d: nothing was read for %v", try, longest)
		}
	})
}

// slowReader is a client with pending output, which conn reads.
type slowReader struct {
	conn   net.Conn
	client *handler.Client
}

func newSlowReader(t *testing.T, h *handler.Frames, serve func(*handler.Frames) *served) *slowReader {
	t.Helper()
	opened := opens(h)
	conn := serve(h).connect()
	// A small window opens again after each piece that is read.
	conn.(interface{ SetReadBuffer(int) error }).SetReadBuffer(128 << 10)
	c := <-opened
	if _, err := c.Write(large); err != nil {
		t.Fatal(err)
	}
	return &slowReader{conn, c}
}

// readSlowly reads a piece for each client ten times in a limit, for more than two limits.
// It returns the longest time from one piece to the next, or from begin to the first, and an
// error if a client was ended.
//
// A socket shows progress only for a good part of its buffer: a unix socket for half of it
// (106 KB), and TCP opens a small window by a whole segment (64 KB). Two pieces are enough
// for either.
func readSlowly(clients []*slowReader, limit time.Duration, begin time.Time) (longest time.Duration, err error) {
	const rounds = 10
	piece := make([]byte, 64<<10)
	last := begin
	for range 2*rounds + rounds/2 {
		time.Sleep(limit / rounds) // the test needs this delay
		for _, c := range clients {
			_, err := io.ReadFull(c.conn, piece)
			longest = max(longest, time.Since(last))
			if r := c.client.Record(); r.Reason != "" || err != nil {
				return longest, fmt.Errorf("the client was ended: %+v, read: %v", r, err)
			}
		}
		last = time.Now()
	}
	return longest, nil
}

// The message of OnError arrives although the client never stops sending.
func TestLastMessageReachesASendingClient(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overSockets(t, func(t *testing.T, serve func(*handler.Frames) *served) {
		h := reportErrors(&handler.Frames{FrameTimeout: limit, Codec: frame.Line{Max: frame.MaxMax}})
		s := serve(h)
		conn := s.connect()
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			piece := make([]byte, 4<<10)
			for {
				if _, err := conn.Write(piece); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		receiveAll(t, conn, "too slow\n")
		conn.Close()
	})
}
