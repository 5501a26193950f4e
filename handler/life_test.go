package handler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"wireline/internal/closing"
	"wireline/internal/timestamp"
)

// newLife returns a life whose connection is never used.
func newLife(ctx context.Context, mode CloseMode) *life {
	return &life{accepted: &accepted{ctx: ctx, mode: mode}, begin: timestamp.Now()}
}

// accepted is an Accepted without a connection.
type accepted struct {
	Accepted
	ctx  context.Context
	mode CloseMode
}

func (*accepted) TLS() *tls.Conn { return nil }

func (a *accepted) Context() context.Context { return a.ctx }
func (a *accepted) RemoteAddr() net.Addr     { return nil }
func (a *accepted) CloseMode() CloseMode     { return a.mode }
func (a *accepted) Memory() *Memory          { return nil }

// The first end counts.
func TestFirstEndCounts(t *testing.T) {
	l := newLife(t.Context(), CloseDefault)
	if l.ended() || l.stopping() || l.reason() != "" {
		t.Error("a new connection has ended")
	}
	l.end(ByClient, ReasonFIN, io.EOF)
	l.end(ByServer, ReasonClosed, nil)
	if r := l.Record(); r.By != ByClient || r.Reason != ReasonFIN || r.Err != io.EOF || !l.stopping() {
		t.Errorf("record %+v, want the first end", r)
	}
}

// The error of a read or write determines who has ended the connection and why.
func TestEndIO(t *testing.T) {
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx    context.Context
		err    error
		by     Party
		reason Reason
		hasErr bool
	}{
		{t.Context(), errWriteTimeout, ByServer, ReasonWriteTimeout, true},
		{t.Context(), errIdleTimeout, ByServer, ReasonIdleTimeout, true},
		{t.Context(), fmt.Errorf("read: %w", net.ErrClosed), ByServer, ReasonClosed, false},
		{cut, net.ErrClosed, ByServer, ReasonCut, false},
		{cut, syscall.ECONNRESET, ByClient, ReasonReset, true},
		{t.Context(), syscall.ETIMEDOUT, ByClient, ReasonIOError, true},
	} {
		l := newLife(test.ctx, CloseDefault)
		l.endIO(test.err)
		if r := l.Record(); r.By != test.by || r.Reason != test.reason || (r.Err != nil) != test.hasErr {
			t.Errorf("%v: ended by %s, reason %s, error %v; want %s, %s", test.err, r.By, r.Reason, r.Err, test.by, test.reason)
		}
	}
}

// A cut replaces the end by a drain, but no other one, and does not affect a hijacked
// connection.
func TestEndCut(t *testing.T) {
	for before, want := range map[Reason]Reason{
		"": ReasonCut, ReasonDrain: ReasonCut, ReasonFIN: ReasonFIN, ReasonHijacked: ReasonHijacked,
	} {
		l := newLife(t.Context(), CloseDefault)
		if before != "" {
			l.end(ByServer, before, nil)
		}
		if cut := l.endCut(); cut != (before != ReasonHijacked) || l.reason() != want {
			t.Errorf("after %q: endCut returned %t, the reason is %s, want %s", before, cut, l.reason(), want)
		}
	}
}

// The duration is fixed when the connection is closed.
func TestSeal(t *testing.T) {
	l := newLife(t.Context(), CloseDefault)
	time.Sleep(time.Millisecond)
	l.seal()
	r := l.Record()
	if r.By != ByServer || r.Reason != ReasonClosed || r.Duration < time.Millisecond {
		t.Errorf("record %+v, want the default reason and a millisecond", r)
	}
	time.Sleep(time.Millisecond)
	if again := l.Record(); again.Duration != r.Duration {
		t.Errorf("the duration changed from %v to %v", r.Duration, again.Duration)
	}
}

func TestFlags(t *testing.T) {
	var f flags
	f.set(paused | inLoop)
	if !f.has(paused) || f.has(draining) {
		t.Error("has does not return what was set")
	}
	if !f.clear(paused) || f.clear(paused) || f.has(paused) || !f.has(inLoop) {
		t.Error("clear does not clear one flag, or does not report whether it was set")
	}
}

// The reason and the close mode determine how a connection is closed.
func TestHowToClose(t *testing.T) {
	const s = CloseMode(1) // CloseWithin of a second
	for _, test := range []struct {
		reason Reason
		mode   CloseMode
		asked  bool
		want   closing.How
	}{
		{ReasonClosed, CloseDefault, false, closing.Linger},
		{ReasonClosed, CloseDefault, true, closing.FIN},
		{ReasonClosed, CloseLingering, true, closing.Linger},
		{ReasonClosed, CloseReset, false, closing.Reset},
		{ReasonClosed, s, true, closing.FIN},
		{ReasonFIN, CloseDefault, false, closing.FIN},
		{ReasonFIN, CloseReset, false, closing.Reset},
		{ReasonDrain, CloseLingering, false, closing.Quiet},
		{ReasonIdleTimeout, CloseDefault, false, closing.Quiet},
		{ReasonIdleTimeout, CloseLingering, false, closing.Linger},
		{ReasonFrameError, CloseDefault, false, closing.Linger},
		{ReasonReset, CloseReset, false, closing.FIN},
		{ReasonIOError, CloseLingering, false, closing.FIN},
		{ReasonCut, CloseLingering, false, closing.Reset},
		{ReasonSlowReader, CloseDefault, false, closing.Reset},
		{ReasonWriteTimeout, s, false, closing.Reset},
	} {
		l := newLife(t.Context(), test.mode)
		if test.asked {
			l.accepted.(*accepted).mode = CloseDefault
		}
		l.ending.Store(&ending{by: ByServer, reason: test.reason, mode: test.mode, asked: test.asked})
		how, bound := l.howToClose()
		if how != test.want || bound != test.mode.Limit() {
			t.Errorf("%s, mode %v, asked %t: %d within %v, want %d", test.reason, test.mode, test.asked, how, bound, test.want)
		}
	}
}

func TestFailedRecords(t *testing.T) {
	for _, test := range []struct {
		reason Reason
		err    error
		want   bool
	}{
		{ReasonFIN, nil, false}, {ReasonHandlerError, errors.New("x"), true}, {ReasonNoUpstream, nil, true},
		{ReasonIOError, syscall.ECONNRESET, false}, {ReasonIOError, syscall.EBADF, true},
	} {
		if got := (Record{Reason: test.reason, Err: test.err}).failed(); got != test.want {
			t.Errorf("%s, %v: failed is %t", test.reason, test.err, got)
		}
	}
}
