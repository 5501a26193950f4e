package handler

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/atomic"

	"wireline/internal/eventloop"
)

// After the process was stopped (SIGSTOP) for longer than FrameTimeout, the rest of a frame is read,
// also if one read does not hold it, or a part of it comes only when there is room for it. A client
// that has sent nothing meanwhile is closed, and so is one whose timer is not late.
func TestFrameTimeoutAfterAStop(t *testing.T) {
	for _, test := range []struct {
		name  string
		late  time.Duration
		waits []string // what each Look or Read finds
		ends  bool
	}{
		{"the rest", time.Hour, []string{"lo\n"}, false},
		{"in two reads", time.Hour, []string{"l", "o\n"}, false},
		{"the last part comes later", time.Hour, []string{"l", "", "o\n"}, false},
		{"nothing", time.Hour, nil, true},
		{"in time, but without its end", time.Millisecond, []string{"l"}, true},
		{"a byte, in time, and the end", time.Millisecond, []string{"lo\n"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var served []string
			clock := atomic.NewInt64(1)
			waits := []string{"hel"}
			next := func(p []byte) (int, bool, error) {
				if len(waits) == 0 {
					return 0, true, nil
				}
				n := copy(p, waits[0])
				waits = waits[1:]
				return n, n == 0 || len(waits) == 0, nil
			}
			h := &Frames{FrameTimeout: time.Second, OnRecord: func(Record) {}, OnFrame: func(_ *Client, line []byte) error {
				served = append(served, string(line))
				return nil
			}}
			c := newScripted(h, &script{now: clock.Load, look: next, read: next})
			ready := func(ev eventloop.Event) { (*pollerHandler)(c).Ready(new(eventloop.Worker), ev) }
			ready(eventloop.In)
			waits = slices.Clone(test.waits)
			clock.Add(int64(time.Second + test.late))
			ready(eventloop.Woken)
			for len(waits) > 0 && !c.ended() {
				clock.Add(int64(time.Second / 2))
				ready(eventloop.In)
			}
			if c.ended() != test.ends || !test.ends && !slices.Equal(served, []string{"hello"}) {
				t.Errorf("served %q, ended: %v", served, c.ended())
			}
		})
	}
}
