package eventloop_test

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
)

// report is a call of Ready that has read everything.
type report struct {
	ev   eventloop.Event
	text string
	err  error
}

// reports reads everything and tells what it has seen.
func reports(to chan<- report) readyFunc {
	return func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
		text, err := s.readAll()
		to <- report{ev, string(text), err}
		return false
	}
}

func TestConnEvents(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan report, 100)
		s := tr.start(t, reports(got))
		for range 3 {
			s.send("a")
			if r := await(t, "In", got); r != (report{eventloop.In, "a", nil}) {
				t.Errorf("after a byte: %+v", r)
			}
			s.Wake()
			if r := await(t, "Woken", got); r != (report{ev: eventloop.Woken}) {
				t.Errorf("after Wake: %+v", r)
			}
		}
		s.peer.Close()
		r := await(t, "the end", got)
		if r.ev&(eventloop.In|eventloop.Hup) == 0 || r.err != io.EOF {
			t.Errorf("after the peer's end: %+v", r)
		}
	})
}

func TestConnEcho(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		s := tr.start(t, echoes)
		for _, size := range []int{1, 10, 5000, 300, 1 << 20, 7} {
			text := bytesOf(size)
			go s.peer.Write(text)
			s.receive(text)
		}
	})
}

// A reset is told also to a handler that has left input unread, once. More input is not.
func TestConnBreaksUnread(t *testing.T) {
	overTransports(t, func(t *testing.T, tr transport) {
		got := make(chan eventloop.Event, 100)
		var tells atomic.Bool
		s := tr.start(t, func(s *served, _ *eventloop.Worker, ev eventloop.Event) bool {
			if p, ok := s.Conn.(*eventloop.Portable); ok {
				tells.Store(p.TellsBreak())
			} else {
				tells.Store(true)
			}
			got <- ev
			return false
		})
		s.send("a")
		if ev := await(t, "In", got); ev != eventloop.In {
			t.Fatalf("after a byte: %v", ev)
		}
		if !tells.Load() || !tr.resets {
			t.Skip("nothing tells")
		}
		for range 3 {
			if s.send("b"); tr.portable() { // epoll may tell
				time.Sleep(10 * time.Millisecond)
			}
			s.Wake()
			if ev := await(t, "Woken", got); ev&eventloop.Woken == 0 && tr.portable() {
				t.Errorf("after more input: %v", ev)
			}
		}
		netconn.Reset(s.peer)
		for ev := eventloop.Event(0); ev&eventloop.Hup == 0; {
			ev = await(t, "Hup", got)
		}
		if err := s.Err(); !netconn.IsReset(err) {
			t.Errorf("Err: %v", err)
		}
		calls := s.calls.Load()
		time.Sleep(50 * time.Millisecond)
		if n := s.calls.Load() - calls; n > 1 {
			t.Errorf("%d calls of Ready after that", n)
		}
		s.Wake()
		await(t, "Woken", got)
	})
}
