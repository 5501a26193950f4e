package handler

import (
	"context"
	stdatomic "sync/atomic"

	"wireline/internal/eventloop"
)

// defaultMaxInFlight is used when Frames.MaxInFlight is zero.
const defaultMaxInFlight = 100

// Hold keeps the client busy until release is called, so that a reply can be written after OnFrame
// has returned. Write the reply, then call release.
//
// While a client is held, a drain waits for it, and so does the end after the client's FIN:
// the reply is delivered first. IdleTimeout, ReadTimeout and FirstFrameTimeout do not run. Other ends do not wait: after Close,
// ErrQuit, an error or a reset, Write returns ErrClosed. When Frames.MaxInFlight holds are not
// released, the client is not read from.
//
// Call Hold in OnFrame or OnOpen, or while the client is held already: at other times the
// client may have ended. release may be called from any goroutine, and more than once. A hold that
// is never released keeps its client until the drain's timeout.
func (c *Client) Hold() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.endStateLocked()
	e.holds++
	facts := holding
	if limit := c.frames.maxInFlight(); limit > 0 && e.holds >= limit {
		facts |= crowded
	}
	c.flags.set(facts)
	if c.flags.has(observed) {
		c.watchBreakLocked()
	}
	h := &hold{client: c}
	return h.release
}

// hold is a call of Hold.
type hold struct {
	client *Client
	over   stdatomic.Bool
}

func (h *hold) release() {
	if !h.over.Swap(true) && h.client.unhold() {
		h.client.conn.Wake()
	}
}

// unhold takes back one hold. It reports whether the serving goroutine waits for that.
func (c *Client) unhold() (awaited bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.endStateLocked()
	e.holds--
	ends := uint32(0)
	if e.holds == 0 {
		c.touch() // IdleTimeout begins now
		ends = holding | released
	}
	if c.flags.has(crowded) && e.holds < c.frames.maxInFlight() {
		c.touch() // the read timeouts begin again, as after a pause
		c.flags.set(resumed)
		ends |= crowded
	}
	was := c.flags.And(^ends)
	t := c.timeouts()
	if e.holds == 0 && t.Idle > 0 {
		c.armLocked(eventloop.After(c.lastActivity.Load(), t.Idle))
	}
	if e.holds == 0 && (t.Read > 0 || t.FirstFrame > 0 && c.count.FramesIn == 0) {
		c.flags.set(relieved)
		return true
	}
	return was&ends&(crowded|released) != 0
}

// awaitRelease reports whether the client is held. Then it arranges for the serving goroutine, which
// is the caller, to be woken by the last release. Until then nothing is read or served.
func (c *Client) awaitRelease() (held bool) {
	if !c.flags.has(holding) {
		return false
	}
	c.flags.set(released)
	if !c.flags.has(holding) {
		return false
	}
	c.input.set(idled)
	if c.flags.has(leaving) {
		c.input.set(finishing)
	}
	return true
}

// endReleased ends a client that a drain or the end of MaxLifetime has found busy, or paused.
func (c *Client) endReleased() {
	if c.input.has(eof) && !c.holdsInput() {
		c.endOfInput()
		return
	}
	c.endLeaving()
}

// Go calls f in a new goroutine and holds the client until f has returned; see Hold. f may
// reply with c.Write or c.WriteFrame. Several functions may run for one client, and reply in any
// order. The frame that OnFrame gets is not valid in f: copy what f needs.
//
// ctx is c.Context(): it ends when the client has ended. f should return soon then. Close and
// Shutdown of the handler wait only a moment for functions that do not.
//
// The result of f is treated like that of OnFrame: an error ends the client, and ErrQuit is
// not reported as one. Then the replies of other functions are not waited for. A panic ends the
// client; it is counted and logged as one in OnFrame.
func (c *Client) Go(f func(ctx context.Context) error) {
	release := c.Hold()
	ctx := c.Context()
	c.frames.background.Add(1)
	go func() {
		defer c.frames.background.Done()
		defer release()
		c.work(ctx, f)
	}()
}

// work calls f, a function of Go. A panic or runtime.Goexit ends the client.
func (c *Client) work(ctx context.Context, f func(ctx context.Context) error) {
	returned := false
	defer func() {
		if !returned {
			c.accepted.Panicked(recover())
			c.end(ByServer, ReasonPanic, nil)
			c.wake()
		}
	}()
	err := f(ctx)
	returned = true
	if !c.continueAfter(err) {
		c.wake()
	}
}

func (h *Frames) maxInFlight() int {
	if h.MaxInFlight == 0 {
		return defaultMaxInFlight
	}
	return h.MaxInFlight
}
