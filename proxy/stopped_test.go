package proxy

import (
	"io"
	"testing"
	"time"

	"wireline/handler"
)

// These are the timeouts of a pair whose process was stopped (SIGSTOP) for longer than them.

// stoppedAt is when the process goes on, and stoppedLimit the timeout.
const (
	stoppedAt    = int64(time.Hour)
	stoppedLimit = time.Second
)

// looksFirst checks that a timeout looks at both sides before it ends the pair.
func looksFirst(t *testing.T, x *wire, why handler.Reason) {
	t.Helper()
	now := stoppedAt
	for _, s := range []sideID{clientSide, upstreamSide} {
		if x.paused(s) {
			continue
		}
		if x.tick(now) || x.phase != relaying {
			t.Fatalf("the pair has ended before a look at side %d", s)
		}
		if a := x.next(s, now); a != actLook {
			t.Fatalf("side %d: action %d, want a look", s, a)
		}
		x.received(s, true, 0, true, nil, now)
	}
	if x.next(clientSide, now) == actAskUnsent {
		x.askedUnsent(0, now)
	}
	x.tick(now)
	if x.phase == relaying || x.end.reason != why {
		t.Errorf("phase %d, %+v; want the end by %s", x.phase, x.end, why)
	}
}

func TestStoppedIdleTimeout(t *testing.T) {
	x := &wire{cfg: &Config{IdleTimeout: stoppedLimit}}
	x.start(1)
	looksFirst(t, x, handler.ReasonIdleTimeout)
}

func TestStoppedDrain(t *testing.T) {
	x := &wire{cfg: &Config{}}
	x.start(1)
	x.drain(2)
	looksFirst(t, x, handler.ReasonDrain)
}

// A side that is not looked at, as its goroutine does not come to it, is not waited for
// for long.
func TestStoppedWithoutALook(t *testing.T) {
	x := &wire{cfg: &Config{IdleTimeout: stoppedLimit}}
	x.start(1)
	x.tick(stoppedAt)
	x.received(clientSide, true, 0, true, nil, stoppedAt)
	for now := stoppedAt; now < stoppedAt+int64(stuckTime); now += int64(soon) {
		if x.tick(now) || x.next(clientSide, now) != actWait {
			t.Fatalf("the pair does not wait for the look after %v", time.Duration(now-stoppedAt))
		}
	}
	if a := x.next(clientSide, stoppedAt+int64(stuckTime)); a != actAskUnsent {
		t.Errorf("action %d after stuckTime", a)
	}
}

// What a Look has not read to its end is read on, although no event has told of it.
func TestLookGoesOn(t *testing.T) {
	x := &wire{cfg: &Config{IdleTimeout: stoppedLimit}}
	x.start(1)
	if a := x.next(upstreamSide, stoppedAt); a != actLook {
		t.Fatalf("action %d, want a look", a)
	}
	x.received(upstreamSide, true, 5, false, nil, stoppedAt)
	x.wrote(upstreamSide, 5, false, nil, stoppedAt)
	if a := x.next(upstreamSide, stoppedAt); a != actRead {
		t.Errorf("action %d after a look that has not read all, want a read", a)
	}
}

// The half-close timeout begins again after a stop, so that what comes then is relayed. It
// expires if nothing comes.
func TestStoppedHalfClose(t *testing.T) {
	x := &wire{cfg: &Config{HalfCloseTimeout: stoppedLimit, HalfCloseIdle: -1, IdleTimeout: -1}}
	x.start(1)
	x.arrived(clientSide, true, true)
	x.received(clientSide, false, 0, false, io.EOF, 1)
	x.sending(upstreamSide)
	x.sentFIN(upstreamSide, nil, 1)
	if x.tick(stoppedAt) || x.phase != relaying {
		t.Fatal("the pair has ended at once")
	}
	if at, why := x.deadline(); at != stoppedAt+int64(stoppedLimit) || why != handler.ReasonHalfCloseTimeout {
		t.Fatalf("the next deadline is %v later, for %s", time.Duration(at-stoppedAt), why)
	}
	now := stoppedAt + int64(stoppedLimit) + int64(time.Hour)
	if !x.tick(now) || x.end.reason != handler.ReasonHalfCloseTimeout { // once is enough
		t.Errorf("phase %d, %+v", x.phase, x.end)
	}
}

// A stream that never pauses does not put the half-close timeout off.
func TestHalfCloseWhileStreaming(t *testing.T) {
	x := &wire{cfg: &Config{HalfCloseTimeout: time.Second}}
	x.start(1)
	x.arrived(clientSide, true, true)
	x.received(clientSide, false, 0, false, io.EOF, 1)
	x.sending(upstreamSide)
	x.sentFIN(upstreamSide, nil, 1)
	for now := int64(1); x.phase == relaying; now += int64(time.Millisecond) {
		x.arrived(upstreamSide, true, false)
		x.received(upstreamSide, false, 100, false, nil, now)
		x.wrote(upstreamSide, 100, false, nil, now)
		x.tick(now)
		if now > int64(1100*time.Millisecond) {
			t.Fatal("it relays after 1.1 s")
		}
	}
	if x.end.reason != handler.ReasonHalfCloseTimeout {
		t.Errorf("ended by %s", x.end.reason)
	}
}

// If the client has taken everything while the process was stopped, the pair is not idle at once: the
// next write follows. If it does not, as where the system cannot tell what is unsent, the pair is.
func TestStoppedWriter(t *testing.T) {
	x := &wire{cfg: &Config{IdleTimeout: stoppedLimit}}
	x.start(1)
	x.arrived(upstreamSide, true, false)
	x.received(upstreamSide, false, 100, false, nil, 1)
	x.wrote(upstreamSide, 50, true, nil, 1)
	x.received(clientSide, true, 0, true, nil, stoppedAt)
	if a := x.next(clientSide, stoppedAt); a != actAskUnsent {
		t.Fatalf("action %d, want a question", a)
	}
	x.askedUnsent(0, stoppedAt)
	if x.phase != relaying {
		t.Fatalf("phase %d after the question", x.phase)
	}
	now, _ := x.deadline()
	x.received(clientSide, true, 0, true, nil, now)
	if a := x.next(clientSide, now); a != actAskUnsent {
		t.Fatalf("action %d, want another question", a)
	}
	if x.askedUnsent(0, now); x.phase == relaying {
		t.Error("the pair goes on for ever")
	}
}

// What comes while a pair parts, and the process is stopped, is discarded before the close.
func TestStoppedParting(t *testing.T) {
	x := &wire{cfg: &Config{}}
	x.start(1)
	x.part(1)
	if x.tick(stoppedAt); x.phase != parting {
		t.Fatalf("phase %d, want parting", x.phase)
	}
	x.tick(stoppedAt + int64(lingerTime))
	if x.phase != closing {
		t.Errorf("phase %d after lingerTime, want closing", x.phase)
	}
}
