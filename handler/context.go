package handler

import (
	"context"
	"time"

	"wireline/internal/eventloop"
)

// breakInterval is how often a connection on a portable poller is asked whether it is broken, while
// its function runs. An event loop is told.
const breakInterval = 100 * time.Millisecond

// clientContext is the context of a client that has asked for it.
type clientContext struct {
	context.Context
	cancel context.CancelCauseFunc

	// Under mu of the client; only on a portable poller.
	timer   *time.Timer // calls checkBreak; nil until it is needed
	ticking bool        // the timer runs
}

// Context returns the context of the client. It ends as soon as the client has ended, for whatever
// reason: the client's FIN was read, or a RST was noticed, also while OnFrame runs; a write
// has failed; a timeout, Close, a cut, a hijack. It does not end when a drain begins, but when
// that ends the client.
//
// context.Cause tells the reason: an error that matches ErrClosed, and the error of the record
// if there is one, and ErrCut, ErrDraining or ErrHijacked if that was the reason.
//
// While OnFrame or a function of Go runs, a RST is noticed at once on an event loop, and within
// 100 ms elsewhere; on Windows, only by a write. From then on frames that had arrived before the RST are not served.
//
// A client that never asks for its context has none. The values are those of the server's context.
func (c *Client) Context() context.Context {
	if c.reason() == ReasonHijacked {
		return withHijacked(c.accepted.Context(), fromServer(c.accepted))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.endStateLocked()
	ctx := e.context.Load()
	if ctx == nil {
		ctx = new(clientContext)
		ctx.Context, ctx.cancel = context.WithCancelCause(c.accepted.Context())
		e.context.Store(ctx)
		c.flags.set(observed)
		c.checkBrokenLocked() // its event may be over
	}
	if c.ended() {
		c.endContext()
	} else {
		c.watchBreakLocked()
	}
	return ctx.Context
}

// end hides life.end. It may be called with and without mu.
func (c *Client) end(by Party, reason Reason, err error) {
	c.life.end(by, reason, err)
	c.endContext()
}

// endIO hides life.endIO.
func (c *Client) endIO(err error) { c.end(c.explainIO(err)) }

// endContext ends the context of a client that has ended. It may be called with and without mu: a
// context calls nobody back.
func (c *Client) endContext() {
	if c.flags.has(observed) {
		c.endState.Load().context.Load().cancel(c.ending.Load().cause())
	}
}

// cause returns the cause of the context.
func (e *ending) cause() error { return &endError{e.reason, e.err} }

// endError is an ErrClosed that says why.
type endError struct {
	reason Reason
	err    error // may be nil
}

func (e *endError) Error() string {
	text := ErrClosed.Error() + ": " + string(e.reason)
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

func (e *endError) Unwrap() []error {
	all := []error{ErrClosed}
	switch e.reason {
	case ReasonCut:
		all = append(all, ErrCut)
	case ReasonDrain:
		all = append(all, ErrDraining)
	case ReasonHijacked:
		all = append(all, ErrHijacked)
	}
	if e.err != nil {
		all = append(all, e.err)
	}
	return all
}

// checkHangup ends the client if its connection is broken, after a hangup. The caller is the serving
// goroutine.
func (c *Client) checkHangup() {
	c.checkBroken()
	if p, ok := c.conn.(*eventloop.Portable); ok && isBreak(p.ReadErr()) {
		c.readFailed(p.ReadErr())
	}
}

// checkBroken ends the client if its connection is broken.
func (c *Client) checkBroken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkBrokenLocked()
}

func (c *Client) checkBrokenLocked() {
	if c.ended() || c.sending.has(gone|failed) {
		return
	}
	if err := c.conn.Err(); err != nil {
		c.writeFailedLocked(err)
	}
}

// watchBreakLocked has checkBreak called, if the poller does not tell that the connection is broken
// while its function runs. The context exists.
func (c *Client) watchBreakLocked() {
	ctx := c.endState.Load().context.Load()
	if _, ok := c.conn.(*eventloop.Portable); !ok || ctx.ticking || c.ended() {
		return
	}
	ctx.ticking = true
	if ctx.timer == nil {
		ctx.timer = time.AfterFunc(breakInterval, c.checkBreak)
	} else {
		ctx.timer.Reset(breakInterval)
	}
}

// checkBreak ends the client if its connection is broken. While the client is busy or paused, it is
// called again; an idle one is read.
func (c *Client) checkBreak() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endState.Load().context.Load().ticking = false
	if c.sending.has(busy) || c.flags.has(holding|paused) {
		c.checkBrokenLocked()
		c.watchBreakLocked()
	}
}
