package handler_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"wireline/handler"
	"wireline/internal/testutil"
	"wireline/lib/frame"
	"wireline/tcptest"
)

var (
	_ handler.Observed = (*handler.Frames)(nil)
	_ handler.Observed = (*handler.Plain)(nil)
)

// awaitLive waits until h has one live connection of which ok is true, and returns that.
func awaitLive(t *testing.T, what string, h handler.Observed, ok func(handler.Live) bool) handler.Live {
	t.Helper()
	var all []handler.Live
	eventually(t, what, func() bool {
		all = slices.Collect(h.Live())
		return len(all) == 1 && ok(all[0])
	})
	return all[0]
}

// inState is a condition of awaitLive.
func inState(s handler.State) func(handler.Live) bool {
	return func(l handler.Live) bool { return l.State == s }
}

// What a client does is seen while it does it, and it can be ended from outside.
func TestLive(t *testing.T) {
	build := func(s *served) *handler.Frames {
		s.frames = &handler.Frames{
			Codec: keepEnd,
			OnFrame: func(c *handler.Client, line []byte) error {
				if string(line) == "pause\n" {
					c.Pause()
				}
				_, err := c.Write(line)
				return err
			},
		}
		return s.frames
	}
	overTransportsAtOnce(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "a\nbc\n")
		receive(t, conn, "a\nbc\n")
		l := awaitLive(t, "an idle client", s.frames, inState(handler.StateIdle))
		if want := (handler.Counts{BytesIn: 5, BytesOut: 5, FramesIn: 2, FramesOut: 2}); l.Counts != want || l.Pending != 0 || l.By != "" {
			t.Errorf("live is %+v, want %+v", l, want)
		}
		if l.Idle < 0 || l.Idle > l.Duration+slack || l.ID != 1 || l.Peer == nil {
			t.Errorf("idle for %v of %v, id %d, peer %v", l.Idle, l.Duration, l.ID, l.Peer)
		}
		if total := s.frames.Totals(); total.Counts != l.Counts || total.Opened != 1 || total.Open() != 1 {
			t.Errorf("the totals are %+v", total)
		}
		send(t, conn, "pause\n")
		receive(t, conn, "pause\n")
		awaitLive(t, "a paused client", s.frames, inState(handler.StatePaused))

		l.Kick(handler.CloseDefault)
		receiveAll(t, conn, "")
		conn.Close()
		r := s.records.Next(t)
		if r.By != handler.ByServer || r.Reason != handler.ReasonKicked {
			t.Errorf("ended by %s: %s", r.By, r.Reason)
		}
		total := s.frames.Totals()
		if total.Counts != r.Counts || total.Open() != 0 || total.Ended[handler.Cause{By: r.By, Reason: r.Reason}] != 1 || total.Durations.Count != 1 {
			t.Errorf("the totals are %+v, the record %+v", total, r)
		}
		if n := len(slices.Collect(s.frames.Live())); n != 0 {
			t.Errorf("%d live connections at the end", n)
		}
	})
}

// A large frame is seen while it arrives, and each of its bytes counts once.
func TestLiveLargeFrame(t *testing.T) {
	const part = 200 << 10 // of a frame, in each of several sends
	build := func(s *served) *handler.Frames {
		s.frames = &handler.Frames{
			Codec: frame.Line{Max: 1 << 20},
			OnFrame: func(c *handler.Client, line []byte) error {
				_, err := c.Write([]byte("ok"))
				return err
			},
		}
		return s.frames
	}
	overTransportsAtOnce(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		sent := int64(0)
		for range 3 {
			send(t, conn, strings.Repeat("x", part))
			sent += part
			seen := awaitLive(t, "most of the frame", s.frames, func(l handler.Live) bool { return l.BytesIn > sent-64<<10 })
			if seen.BytesIn > sent || seen.FramesIn != 0 {
				t.Errorf("live is %+v, sent %d", seen, sent)
			}
			if total := s.frames.Totals(); total.BytesIn < seen.BytesIn || total.BytesIn > sent {
				t.Errorf("the totals are %+v, sent %d", total, sent)
			}
		}
		send(t, conn, "\nabc") // abc is a line too, without an end
		receive(t, conn, "ok")
		conn.Close()
		r, total := s.records.Next(t), s.frames.Totals()
		if r.BytesIn != sent+4 || r.FramesIn != 2 || total.BytesIn != r.BytesIn || total.FramesIn != r.FramesIn {
			t.Errorf("the record is %+v, the totals %+v, sent %d", r.Counts, total.Counts, sent+4)
		}
	})
}

// A client that reads nothing is busy with what is pending, and CloseReset ends it at once.
func TestLivePending(t *testing.T) {
	build := func(s *served) *handler.Frames {
		s.frames = &handler.Frames{
			MaxPending: 64 << 20,
			WhenSlow:   handler.SlowDrop,
			OnFrame: func(c *handler.Client, line []byte) error {
				_, err := c.Write(make([]byte, 16<<20))
				return err
			},
		}
		return s.frames
	}
	overTransportsAtOnce(t, build, func(t *testing.T, s *served) {
		conn := s.connect()
		send(t, conn, "go\n")
		l := awaitLive(t, "pending output", s.frames, func(l handler.Live) bool {
			return l.Pending > 1<<20 && l.State == handler.StateBusy
		})
		l.Kick(handler.CloseDefault)
		awaitLive(t, "a closing client", s.frames, inState(handler.StateClosing))
		l.Kick(handler.CloseReset)
		l.Kick(handler.CloseReset)
		if r := s.records.Next(t); r.Reason != handler.ReasonKicked || r.By != handler.ByServer {
			t.Errorf("ended by %s: %s", r.By, r.Reason)
		}
		if n, _ := io.Copy(io.Discard, conn); n == 16<<20 {
			t.Error("all of the output has come, in spite of the reset")
		}
	})
}

// A connection that its handler reads and writes itself is seen and ended in the same way.
func TestLiveConn(t *testing.T) {
	reads := make(chan error, 1)
	h := handler.Func(func(_ context.Context, conn net.Conn) {
		_, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
		reads <- err
	})
	records := newRecords()
	h.OnRecord = records.Add
	s := tcptest.NewServer(h)
	defer s.Close()
	for i, mode := range []handler.CloseMode{handler.CloseDefault, handler.CloseReset} {
		conn := s.Dial()
		defer conn.Close()
		send(t, conn, "abc")
		receive(t, conn, "abc")
		l := awaitLive(t, "an idle connection", h, inState(handler.StateIdle))
		if l.BytesIn != 3 || l.BytesOut != 3 || l.Idle > l.Duration+time.Second {
			t.Errorf("live is %+v", l)
		}
		l.Kick(mode)
		if err := testutil.Await(t, "the end of the handler", reads); err == nil {
			t.Error("the handler has read the end of the stream")
		}
		conn.Close()
		if r := records.Next(t); r.Reason != handler.ReasonKicked || r.By != handler.ByServer {
			t.Errorf("mode %d: ended by %s: %s", i, r.By, r.Reason)
		}
	}
	total := h.Totals()
	if total.BytesIn != 6 || total.Opened != 2 || total.Open() != 0 {
		t.Errorf("the totals are %+v", total)
	}
}
