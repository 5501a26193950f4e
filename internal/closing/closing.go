// Package closing decides how a connection is closed: it is the state machine from the
// last byte written to the closed socket. It does no I/O. Its driver asks Next what to
// do, does that, and tells the outcome.
//
//	            Flushed                    Input: the end
//	flushing ------------> lingering ----------------------> acknowledging --> over
//	    |                                                         ^
//	    +---------------------------------------------------------+
//
// Lingering: the FIN is sent, and what the peer still sends is discarded until its own
// FIN. A close with unread input would make the kernel send a RST (RFC 1122, 4.2.2.13),
// which destroys the last reply on its way.
//
// Acknowledging: the close waits until the peer has acknowledged everything.
package closing

import "time"

// How is what becomes of a connection when everything that was written is sent.
type How uint8

const (
	// FIN closes it.
	FIN How = iota
	// Reset sends a RST.
	Reset
	// Quiet is for a peer that is silent: it gets the FIN in any case, also if it
	// begins to send at this very moment. If it is sending, the close lingers for
	// ShortLinger.
	Quiet
	// Linger discards what the peer sends until its FIN, for LongLinger at most.
	Linger
)

const (
	// LongLinger bounds a lingering close: so long a peer that is still sending has
	// to read our last words.
	LongLinger = 2 * time.Second

	// ShortLinger bounds it during a drain.
	ShortLinger = 500 * time.Millisecond

	// FullSpeed is how many bytes are discarded at full speed, enough for a peer that
	// sends everything before it reads. After that there is a pause of slowPause
	// between two reads, so that a peer that sends for ever costs next to nothing.
	FullSpeed = 4 << 20
	slowPause = 10 * time.Millisecond

	// The kernel is asked whether the peer has acknowledged everything after
	// firstAsk, then less and less often, up to lastAsk.
	firstAsk = 10 * time.Millisecond
	lastAsk  = 200 * time.Millisecond
)

// Action is what the driver is to do next.
type Action uint8

const (
	// WaitOutput waits until Flushed can be called.
	WaitOutput Action = iota
	// SendFIN closes the direction to the peer, and calls FINSent.
	SendFIN
	// Discard reads once, throws that away, and calls Input.
	Discard
	// Look is Discard that asks the connection itself, although no event has told of
	// input.
	Look
	// WaitInput waits for input, or for the timer.
	WaitInput
	// WaitTimer waits for the timer.
	WaitTimer
	// Ask discards what has arrived, up to Room bytes, asks whether everything is
	// acknowledged, and calls Acknowledged.
	Ask
	// CloseFIN closes the connection.
	CloseFIN
	// CloseReset closes it with a RST.
	CloseReset
)

type phase uint8

const (
	flushing phase = iota
	parting        // everything is sent, the FIN is not
	lingering
	concluding // the FIN is still to be sent, if the close waits for its acknowledgement
	acknowledging
	over
)

// Closing is the end of one connection. The zero value waits for output.
type Closing struct {
	phase phase
	how   How
	reset bool // nothing is to be waited for: a RST
	quiet bool // the first look at a peer that should be silent
	empty bool // the last read found nothing, and no event has come since

	bound     time.Duration // of the wait for the acknowledgement; zero for none
	end       int64         // of lingering or acknowledging
	at        int64         // when to read or to ask again
	pause     time.Duration // until the next Ask
	discarded int
}

// Flushed tells that everything that was written is sent, or, with ok false, that it
// cannot be: then no FIN may say that it was. how and bound say how the connection is to
// be closed; bound is the wait for the acknowledgement, zero for none.
func (c *Closing) Flushed(ok bool, how How, bound time.Duration) {
	c.how, c.bound, c.phase = how, bound, parting
	switch {
	case !ok, how == Reset:
		c.reset, c.phase = true, over
	case how == FIN:
		c.conclude()
	}
}

// conclude ends lingering, or leaves it out.
func (c *Closing) conclude() {
	c.phase = over
	if c.bound > 0 {
		c.phase = concluding
	}
}

// FINSent tells the outcome of SendFIN. unread reports that the peer has sent something
// that was read and not served.
func (c *Closing) FINSent(err error, unread bool, now int64) {
	switch {
	case c.phase == concluding && err != nil:
		c.phase = over
	case c.phase == concluding:
		c.phase, c.discarded = acknowledging, 0
		c.end, c.at, c.pause = now+int64(c.bound), now, firstAsk
	case err != nil: // no half-close, or broken already
		c.conclude()
	case c.how == Quiet:
		c.phase, c.quiet = lingering, !unread
		c.end = now + int64(ShortLinger)
	default:
		c.phase = lingering
		c.end = now + int64(LongLinger)
	}
}

// Input tells the outcome of Discard or Look: n bytes were thrown away, drained tells that
// nothing more is there, ended that nothing more comes.
func (c *Closing) Input(n int, drained, ended bool, now int64) {
	c.discarded += n
	c.empty = drained
	switch {
	case ended, now >= c.end, c.quiet && n == 0:
		c.conclude()
	case c.discarded > FullSpeed:
		c.at = now + int64(slowPause)
	}
	c.quiet = false
}

// Arrived tells that there may be input again.
func (c *Closing) Arrived() { c.empty = false }

// Acknowledged tells the outcome of Ask.
func (c *Closing) Acknowledged(n int, all bool, now int64) {
	c.discarded += n
	if all || now >= c.end {
		c.phase = over
		return
	}
	c.at = min(c.end, now+int64(c.pause))
	c.pause = min(2*c.pause, lastAsk)
}

// Room is how many bytes Ask may discard.
func (c *Closing) Room() int { return FullSpeed - c.discarded }

// Shorten bounds lingering by ShortLinger from now on: a drain waits for it.
func (c *Closing) Shorten(now int64) {
	if c.phase == lingering {
		c.end = min(c.end, now+int64(ShortLinger))
	}
}

// Next says what to do now. It changes nothing; for the same outcome it says the same.
func (c *Closing) Next(now int64) Action {
	switch c.phase {
	case flushing:
		return WaitOutput
	case parting, concluding:
		return SendFIN
	case lingering:
		switch {
		case now < c.at && now < c.end:
			return WaitTimer
		case c.empty && now < c.end:
			return WaitInput
		}
		if c.quiet {
			return Look
		}
		return Discard
	case acknowledging:
		if now < c.at {
			return WaitTimer
		}
		return Ask
	}
	if c.reset {
		return CloseReset
	}
	return CloseFIN
}

// Timer is when Next has to be asked again at the latest; zero if no time is awaited.
func (c *Closing) Timer() int64 {
	switch {
	case c.phase == lingering && !c.empty && c.at > 0:
		return min(c.at, c.end)
	case c.phase == lingering:
		return c.end
	case c.phase == acknowledging:
		return c.at
	}
	return 0
}
