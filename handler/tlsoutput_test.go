package handler_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/closing"
	"wireline/internal/testutil"
)

// keyUpdates is how many KeyUpdates have answers that do not fit into small buffers, but that the
// server still reads: about 108 KB.
const keyUpdates = 4000

// overFullTLS runs test with a client whose connection is full of answers to KeyUpdates, and
// beneath TLS more of them are queued.
// filled is how old the connection is by then.
func overFullTLS(t *testing.T, config func(*handler.Frames),
	test func(t *testing.T, s *served, conn *testutil.RecordClient, c *handler.Client, filled time.Duration)) {

	build := func() *handler.Frames {
		h := &handler.Frames{
			Codec:   keepEnd,
			OnFrame: func(*handler.Client, []byte) error { return nil },
		}
		config(h)
		return h
	}
	overTLSWith(t, true, 4<<10, build, func(t *testing.T, s *served) {
		conn := s.connectByHand()
		if socket, ok := conn.Conn.(*net.TCPConn); ok {
			socket.SetReadBuffer(4 << 10)
		}
		var c *handler.Client
		eventually(t, "the client is there", func() bool {
			for c = range s.frames.Clients().All() {
			}
			return c != nil
		})
		send(t, conn.Conn, string(conn.Out.KeyUpdates(keyUpdates, "\n")))
		eventually(t, "the KeyUpdates are read", func() bool { return c.Record().FramesIn == keyUpdates/10 })
		test(t, s, conn, c, c.Record().Duration)
	})
}

// endsAfter checks that a client has ended when its connection had accepted nothing for limit,
// which began before filled.
func endsAfter(t *testing.T, c *handler.Client, filled, limit time.Duration) {
	t.Helper()
	if d := c.Record().Duration; d < limit || d > filled+limit+2*slack {
		t.Errorf("ended after %v, and was full after %v; the limit is %v", d, filled, limit)
	}
}

// answersThenClose checks that the client reads all answers, then a close_notify and a FIN.
func answersThenClose(t *testing.T, conn *testutil.RecordClient) {
	t.Helper()
	conn.ReceiveKeyUpdates(t, keyUpdates)
	closesWith(t, conn, alertCloseNotify)
}

// What crypto/tls has queued is sent before the connection is closed, and the close_notify and the
// FIN behind it, however the client ends.
func TestTLSCloseSendsQueue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(t *testing.T, conn *testutil.RecordClient, c *handler.Client)
	}{
		{"FIN", func(t *testing.T, conn *testutil.RecordClient, _ *handler.Client) {
			send(t, conn.Conn, string(conn.Out.Seal(testutil.AlertRecord, []byte{1, alertCloseNotify})))
			closeWrite(t, conn.Conn)
		}},
		{"CloseWith", func(_ *testing.T, _ *testutil.RecordClient, c *handler.Client) { c.CloseWith(handler.CloseDefault) }},
		{"Close", func(_ *testing.T, _ *testutil.RecordClient, c *handler.Client) { c.Close() }},
		{"an invalid record", func(t *testing.T, conn *testutil.RecordClient, _ *handler.Client) {
			send(t, conn.Conn, "\x17\x03\x03\x00\x00")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			overFullTLS(t, func(*handler.Frames) {}, func(t *testing.T, s *served, conn *testutil.RecordClient, c *handler.Client, _ time.Duration) {
				test.end(t, conn, c)
				eventually(t, "the client has ended", func() bool { return c.Record().Reason != "" })
				if test.name == "Close" {
					time.Sleep(closing.LongLinger + time.Second) // the client may also be late
				}
				if test.name != "an invalid record" {
					answersThenClose(t, conn)
					return
				}
				conn.ReceiveKeyUpdates(t, keyUpdates)
				closesWith(t, conn, alertBadRecordMAC)
			})
		})
	}
}

// A client that accepts no answers to its KeyUpdates has the write timeout, like any client that
// accepts no output.
func TestTLSQueueWriteTimeout(t *testing.T) {
	t.Parallel()
	overFullTLS(t, func(h *handler.Frames) { h.WriteTimeout = 4 * limit }, func(t *testing.T, s *served, _ *testutil.RecordClient, c *handler.Client, filled time.Duration) {
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonWriteTimeout {
			t.Errorf("record %+v", r)
		}
		endsAfter(t, c, filled, 4*limit)
	})
}

// A client that goes on accepting them, if slowly, stays.
func TestTLSQueueSlowReader(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	overFullTLS(t, func(h *handler.Frames) { h.WriteTimeout = 8 * time.Second }, func(t *testing.T, s *served, conn *testutil.RecordClient, c *handler.Client, _ time.Duration) {
		if strings.HasSuffix(t.Name(), "wrapped") {
			t.Skip("what it accepts is seen in steps of 64 KiB, which take this client as long")
		}
		for range 20 { // longer than the timeout; the kernel takes more only after several of them
			conn.ReceiveKeyUpdates(t, keyUpdates/20)
			time.Sleep(time.Second / 2)
		}
		sendRecord(t, conn, "\n")
		eventually(t, "the client is served", func() bool { return c.Record().FramesIn == keyUpdates/10+1 })
		c.Close()
		closesWith(t, conn, alertCloseNotify)
	})
}

// A client that has ended and accepts nothing any more is closed at the write timeout.
func TestTLSCloseGivesUp(t *testing.T) {
	t.Parallel()
	const idle = 4 * limit // a slow machine needs a second or more to read the KeyUpdates
	overFullTLS(t, func(h *handler.Frames) { h.IdleTimeout = idle }, func(t *testing.T, s *served, _ *testutil.RecordClient, c *handler.Client, filled time.Duration) {
		c.CloseWith(handler.CloseDefault)
		if r := s.records.Next(t); r.By != handler.ByServer || r.Reason != handler.ReasonClosed {
			t.Errorf("record %+v", r)
		}
		endsAfter(t, c, filled, idle)
	})
}
