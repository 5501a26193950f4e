package handler

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"wireline/internal/eventloop"
	"wireline/internal/testutil"
	"wireline/internal/timestamp"
	"wireline/internal/transport"
	"wireline/lib/frame"
)

// script is a poller's connection on which only what the test sets happens.
type script struct {
	eventloop.Conn
	now  func() int64
	look func(p []byte) (n int, drained bool, err error)
	read func(p []byte) (n int, drained bool, err error)
}

func (s *script) Now() int64                               { return s.now() }
func (s *script) Wake()                                    {}
func (s *script) SetTimer(int64)                           {}
func (s *script) Look(p []byte) (n int, d bool, err error) { return s.look(p) }
func (s *script) Read(p []byte) (n int, d bool, err error) { return s.read(p) }
func (s *script) Write(parts [3][]byte) (n int, err error) {
	for _, p := range parts {
		n += len(p)
	}
	return n, nil
}
func (s *script) CloseWrite() error                 { return net.ErrClosed }
func (s *script) LocalAddr(known net.Addr) net.Addr { return known }
func (s *script) Close()                            {}

// scripted is an Accepted without a connection.
type scripted struct{ Accepted }

func (scripted) Context() context.Context { return context.Background() }
func (scripted) LocalAddr() net.Addr      { return nil }
func (scripted) RemoteAddr() net.Addr     { return nil }
func (scripted) CloseMode() CloseMode     { return CloseDefault }
func (scripted) Memory() *Memory          { return nil }
func (scripted) TLS() *tls.Conn           { return nil }
func (scripted) Done()                    {}

func newScripted(h *Frames, s *script) *Client {
	h.once.Do(h.init)
	c := &Client{frames: h, conn: s, phase: phaseServing}
	c.accepted, c.begin = scripted{}, timestamp.Now()
	return c
}

// Input that a Look has found, without an event for it, is read to its end: only then
// does the poller report further input.
func TestLookIsReadToItsEnd(t *testing.T) {
	var served []string
	h := &Frames{IdleTimeout: time.Second, OnFrame: func(c *Client, line []byte) error {
		served = append(served, string(line))
		return nil
	}}
	drained := true
	s := &script{now: func() int64 { return int64(2 * time.Second) }}
	s.look = func(p []byte) (int, bool, error) {
		drained = false
		return copy(p, "late\n"), false, nil
	}
	s.read = func(p []byte) (int, bool, error) {
		drained = true
		return 0, true, nil
	}
	c := newScripted(h, s)
	(*pollerHandler)(c).Ready(new(eventloop.Worker), eventloop.Woken)
	if len(served) != 1 || c.ended() {
		t.Errorf("served %q, ended: %v; want one frame of a client that goes on", served, c.ended())
	}
	if !drained {
		t.Error("no Read has reported that the input is drained, so no event will tell of more")
	}
}

// A write by another goroutine, just when the idle timeout has been found to have
// expired, does not take its reason from the record.
func TestIdleTimeoutKeepsItsReason(t *testing.T) {
	h := &Frames{IdleTimeout: time.Second, OnRecord: func(Record) {}}
	s := new(script)
	c := newScripted(h, s)
	looked, asked := false, 0
	s.look = func(p []byte) (int, bool, error) {
		looked = true
		return 0, true, nil
	}
	s.now = func() int64 {
		now := int64(2 * time.Second)
		if looked {
			if asked++; asked == 1 { // the check that decides has read lastActivity
				c.lastActivity.Store(now)
			}
		}
		return now
	}
	(*pollerHandler)(c).Ready(new(eventloop.Worker), eventloop.Woken)
	if r := c.Record(); r.Reason != ReasonIdleTimeout {
		t.Errorf("the reason is %q, want %q", r.Reason, ReasonIdleTimeout)
	}
}

// A frame that is being served is whole: its start does not count for the next one, also
// if the batch stops early.
func TestServedFrameHasNoTimeout(t *testing.T) {
	var c *Client
	frames := 0
	h := &Frames{FrameTimeout: time.Second, OnFrame: func(*Client, []byte) error {
		frames++
		if c.frameBegan != 0 {
			t.Errorf("frame %d: the frame timeout runs since %d", frames, c.frameBegan)
		}
		return nil
	}}
	clock := int64(time.Millisecond)
	s := &script{now: func() int64 { clock++; return clock }}
	input := []string{"par", "t\nwhole\npar"}
	s.read = func(p []byte) (int, bool, error) {
		if len(input) == 0 {
			return 0, true, nil
		}
		n := copy(p, input[0])
		input = input[1:]
		return n, true, nil
	}
	c = newScripted(h, s)
	for range 2 {
		(*pollerHandler)(c).Ready(new(eventloop.Worker), eventloop.In)
		if c.frameBegan == 0 {
			t.Error("the frame timeout of a partial frame does not run")
		}
	}
	if frames != 2 {
		t.Errorf("%d frames were served, want 2", frames)
	}
}

// stuck is a script that accepts no output.
type stuck struct {
	*script
	t      *testing.T
	closed bool
}

func (s *stuck) Write([3][]byte) (n int, err error) {
	if s.closed {
		s.t.Error("Write after Close: the descriptor may be another connection's")
	}
	return 0, nil
}

func (s *stuck) WatchOut(bool) error   { return nil }
func (s *stuck) Unsent() int           { return 0 }
func (s *stuck) Close()                { s.closed = true }
func (s *stuck) Acknowledged() bool    { return true }
func (s *stuck) SetLinger(seconds int) {}

// An event loop may report that a connection accepts output after the serving goroutine has
// closed it. What TLS has queued is not sent then.
func TestNoOutputOfTLSAfterClose(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	secure := transport.Server(server, &tls.Config{Certificates: []tls.Certificate{testutil.SelfSigned(t)}})
	done := make(chan error, 1)
	go func() { done <- tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	if err := secure.Conn().Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	clock := int64(1)
	s := &stuck{script: &script{now: func() int64 { return clock }}, t: t}
	s.read = func([]byte) (int, bool, error) { return 0, true, nil }
	c := newScripted(new(Frames), s.script)
	c.conn = s
	secure.Use(s, nil)
	c.special = &special{tls: secure}
	c.end(ByClient, ReasonFIN, nil)
	for range 2 {
		if s.closed {
			t.Error("closed before the timeout, with a close_notify in the queue")
		}
		(*pollerHandler)(c).Ready(new(eventloop.Worker), eventloop.Woken)
		clock += int64(flushTimeout)
	}
	if !s.closed || !secure.Queued() {
		t.Fatalf("closed: %v, queued: %v; want a close with a close_notify in the queue", s.closed, secure.Queued())
	}
	(*pollerHandler)(c).Writable()
}

// A client is not late if the process was stopped, and what it has sent has arrived meanwhile, also
// if that takes several reads.
func TestStoppedPastTheReadTimeouts(t *testing.T) {
	for name, h := range map[string]*Frames{
		"first frame": {FirstFrameTimeout: time.Second},
		"frame":       {FrameTimeout: time.Second},
		"idle":        {IdleTimeout: time.Second},
		"silence":     {ReadTimeout: time.Second},
	} {
		for _, size := range []int{100, 5 * loopBuffer} {
			h := &Frames{
				FirstFrameTimeout: h.FirstFrameTimeout, FrameTimeout: h.FrameTimeout, IdleTimeout: h.IdleTimeout, ReadTimeout: h.ReadTimeout,
				Codec: frame.Line{Max: 10 * loopBuffer},
			}
			served := 0
			h.OnFrame = func(_ *Client, line []byte) error { served = len(line); return nil }
			clock := int64(time.Millisecond)
			s := &script{now: func() int64 { return clock }}
			input := "x"
			s.read = func(p []byte) (int, bool, error) {
				n := copy(p, input)
				input = input[n:]
				return n, n < len(p), nil
			}
			s.look = s.read
			c := newScripted(h, s)
			c.startTimeouts()
			w := new(eventloop.Worker)
			(*pollerHandler)(c).Ready(w, eventloop.In)
			clock += int64(time.Hour)
			input = strings.Repeat("x", size) + "\n"
			(*pollerHandler)(c).Ready(w, eventloop.Woken)
			if served != size+1 || c.ended() {
				t.Errorf("%s: a frame of %d bytes was served, of %d; record %+v", name, served, size+1, c.Record())
			}
			// What has not arrived is late.
			input = "x"
			(*pollerHandler)(c).Ready(w, eventloop.In)
			clock += int64(time.Hour)
			(*pollerHandler)(c).Ready(w, eventloop.Woken)
			if late := h.FirstFrameTimeout == 0; c.ended() != late {
				t.Errorf("%s: after another hour, record %+v", name, c.Record())
			}
		}
	}
}

// A client that never stops sending a frame without an end is late nevertheless.
func TestLateWhileSending(t *testing.T) {
	clock := int64(time.Millisecond)
	s := &script{now: func() int64 { return clock }}
	s.read = func(p []byte) (int, bool, error) { return copy(p, strings.Repeat("x", 100)), false, nil }
	s.look = s.read
	c := newScripted(&Frames{FirstFrameTimeout: time.Second, Codec: frame.Line{Max: frame.MaxMax}}, s)
	c.startTimeouts()
	w := new(eventloop.Worker)
	(*pollerHandler)(c).Ready(w, eventloop.In)
	clock += int64(time.Hour)
	(*pollerHandler)(c).Ready(w, eventloop.Woken)
	if r := c.Record(); r.Reason != ReasonFirstFrameTimeout {
		t.Errorf("record %+v", r)
	}
}

// So is one that never stops sending frames that are discarded, although each batch ends with its time
// slice.
func TestLateInAFlood(t *testing.T) {
	clock := int64(time.Millisecond)
	h := &Frames{FirstFrameTimeout: time.Second, Codec: frame.Line{Max: 3}, TooLong: TooLongDiscard}
	h.OnError = func(*Client, error) { clock += int64(timeSlice) / 10 }
	text := strings.Repeat("too long\n", loopBuffer)
	s := &script{now: func() int64 { return clock }}
	s.read = func(p []byte) (int, bool, error) { return copy(p, text), false, nil }
	s.look = s.read
	c := newScripted(h, s)
	c.flags.set(inLoop)
	c.startTimeouts()
	c.input.set(unread)
	w := new(eventloop.Worker) // as if each turn of the loop had begun long ago
	c.serveEvent(w, false)
	clock += int64(time.Second)
	turns := 0
	for again, alive := c.serveEvent(w, true); alive; again, alive = c.serveEvent(w, false) {
		if turns++; !again || turns > 10_000 {
			t.Fatalf("after %d turns it goes on; again: %t", turns, again)
		}
	}
	if r := c.Record(); r.Reason != ReasonFirstFrameTimeout {
		t.Errorf("record %+v", r)
	}
}

// Lifetimes are spread evenly over what the jitter allows.
func TestLifetimes(t *testing.T) {
	for _, test := range []struct{ life, jitter, spread time.Duration }{
		{time.Hour, 0, 6 * time.Minute},
		{time.Hour, time.Minute, time.Minute},
		{time.Hour, time.Hour, time.Hour},
		{time.Hour, -1, 0},
	} {
		h := &Frames{MaxLifetime: test.life, MaxLifetimeJitter: test.jitter}
		h.once.Do(h.init)
		const n = 10_000
		var sum time.Duration
		for id := range uint64(n) {
			d := h.lifetime(id) - test.life
			if d < -test.spread || d > test.spread {
				t.Fatalf("%+v: a lifetime of %v", test, test.life+d)
			}
			sum += max(d, -d)
		}
		if mean := sum / n; mean < test.spread*45/100 || mean > test.spread*55/100 {
			t.Errorf("%+v: the mean difference is %v, want half of %v", test, mean, test.spread)
		}
	}
}

// A frame that has arrived while the process was stopped, past MaxLifetime, is served.
func TestStoppedPastMaxLifetime(t *testing.T) {
	served := 0
	h := &Frames{MaxLifetime: time.Nanosecond, OnFrame: func(*Client, []byte) error { served++; return nil }}
	s := &script{now: func() int64 { return int64(time.Hour) }}
	input := "a\nb\n"
	s.look = func(p []byte) (int, bool, error) {
		n := copy(p, input)
		input = input[n:]
		return n, true, nil
	}
	s.read = s.look
	c := newScripted(h, s)
	for c.begin.Elapsed() == 0 { // the clock of Windows moves in steps
	}
	(*pollerHandler)(c).Expired()
	(*pollerHandler)(c).Ready(new(eventloop.Worker), eventloop.Woken)
	if r := c.Record(); served != 1 || r.Reason != ReasonMaxLifetime {
		t.Errorf("%d frames were served, want 1; record %+v", served, r)
	}
}
