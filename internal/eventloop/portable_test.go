package eventloop_test

import (
	"io"
	"testing"

	"wireline/internal/eventloop"
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
