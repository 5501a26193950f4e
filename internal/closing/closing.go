// Package closing decides how a connection is closed. It is a state machine from the
// last byte written to the closed socket. It does no I/O: its driver calls Next to
// learn what to do, does that, and reports the result.
//
//	            Flushed                    Input: the end
//	flushing ------------> lingering ----------------------> acknowledging --> over
//	    |                                                         ^
//	    +---------------------------------------------------------+
//
// Lingering: the FIN is sent, and input is discarded until the FIN of the peer. A close
// with unread input would make the kernel send a RST (RFC 1122, 4.2.2.13), which can
// destroy the last reply before the peer has read it.
//
// Acknowledging: the close waits until the peer has acknowledged everything.
package closing

import "time"

// How says how to close a connection after all output is sent.
type How uint8

const (
	// FIN closes the connection.
	FIN How = iota
	// Reset sends a RST.
	Reset
	// Quiet sends a FIN to a peer that is expected to be silent, even if the peer
	// begins to send at that moment. If the peer is sending, the close lingers for
	// ShortLinger.
	Quiet
	// Linger sends a FIN, then discards input until the FIN of the peer, for at most
	// LongLinger.
	Linger
)

const (
	// LongLinger bounds a lingering close: a peer that is still sending has this long
	// to read our last reply.
	LongLinger = 2 * time.Second

	// ShortLinger bounds a lingering close during a drain.
	ShortLinger = 500 * time.Millisecond

	// FullSpeed is how many bytes are discarded at full speed. It is enough for a peer
	// that sends everything before it reads. After that there is a pause of slowPause
	// between two reads, so that a peer that never stops sending costs almost nothing.
	FullSpeed = 4 << 20
	slowPause = 10 * time.Millisecond

	// The driver asks the kernel whether the peer has acknowledged everything: the
	// second time after firstAsk, then at growing intervals of up to lastAsk.
	firstAsk = 10 * time.Millisecond
	lastAsk  = 200 * time.Millisecond
)

// Action says what the driver has to do next.
type Action uint8

const (
	// WaitOutput: wait until the output is sent or has failed, then call Flushed.
	WaitOutput Action = iota
	// SendFIN: close the connection for writing, then call FINSent.
	SendFIN
	// Discard: read once, throw the input away, then call Input.
	Discard
	// Look: like Discard, but read from the connection even if no event has announced
	// input.
	Look
	// WaitInput: wait for input or for the timer.
	WaitInput
	// WaitTimer: wait for the timer.
	WaitTimer
	// Ask: discard up to Room bytes of input, find out whether everything is
	// acknowledged, then call Acknowledged.
	Ask
	// CloseFIN: close the connection.
	CloseFIN
	// CloseReset: close the connection with a RST.
	CloseReset
)

// phase is the stage of the close.
type phase uint8

const (
	flushing      phase = iota // output is pending
	parting                    // all output is sent, the FIN is not
	lingering                  // the FIN is sent, input is discarded
	concluding                 // the FIN is sent, even if it was before, to wait for its acknowledgement
	acknowledging              // the FIN is sent, its acknowledgement is awaited
	over                       // the connection can be closed
)

// Closing is the close of one connection. The zero value is in use before Flushed: it
// waits for output. It is not safe for concurrent use. Times are nanoseconds on any
// clock that does not jump.
type Closing struct {
	phase phase
	how   How
	reset bool // close with a RST, without waiting
	quiet bool // the next read is the first one from a peer that should be silent
	empty bool // the last read found nothing more, and no event has come since

	bound     time.Duration // limit of the wait for the acknowledgement; zero for no wait
	end       int64         // when lingering or acknowledging ends at the latest
	at        int64         // when to read or ask again
	pause     time.Duration // interval until the Ask after the next one
	discarded int           // bytes discarded so far
}

// Flushed reports that all output is sent. With ok false it reports that some output
// could not be sent; then no FIN may pretend that it was. how says how to close the
// connection, and bound limits the wait for the acknowledgement; zero means no wait.
func (c *Closing) Flushed(ok bool, how How, bound time.Duration) {
	c.how, c.bound, c.phase = how, bound, parting
	switch {
	case !ok, how == Reset:
		c.reset, c.phase = true, over
	case how == FIN:
		c.conclude()
	}
}

// conclude ends lingering, or skips it.
func (c *Closing) conclude() {
	c.phase = over
	if c.bound > 0 {
		c.phase = concluding
	}
}

// FINSent reports the result of SendFIN. unread means that input was read but not
// served.
func (c *Closing) FINSent(err error, unread bool, now int64) {
	switch {
	case c.phase == concluding && err != nil:
		c.phase = over
	case c.phase == concluding:
		c.phase, c.discarded = acknowledging, 0
		c.end, c.at, c.pause = now+int64(c.bound), now, firstAsk
	case err != nil: // the connection is broken, or cannot be half-closed
		c.conclude()
	case c.how == Quiet:
		c.phase, c.quiet = lingering, !unread
		c.end = now + int64(ShortLinger)
	default:
		c.phase = lingering
		c.end = now + int64(LongLinger)
	}
}

// Input reports the result of Discard or Look: n bytes were discarded. drained means
// that there is no more input for now, ended that no more input will come.
func (c *Closing) Input(n int, drained, ended bool, now int64) {
	c.discarded += n
	c.empty = drained
	switch {
	case ended, c.quiet && n == 0:
		c.conclude()
	case now >= c.end && (drained || n == 0 || c.discarded > FullSpeed): // more may wait if the process was stopped
		c.conclude()
	case c.discarded > FullSpeed:
		c.at = now + int64(slowPause)
	}
	c.quiet = false
}

// Arrived reports that there may be input again.
func (c *Closing) Arrived() { c.empty = false }

// Acknowledged reports the result of Ask: n bytes were discarded, and all says whether
// everything is acknowledged.
func (c *Closing) Acknowledged(n int, all bool, now int64) {
	c.discarded += n
	if all || now >= c.end {
		c.phase = over
		return
	}
	c.at = min(c.end, now+int64(c.pause))
	c.pause = min(2*c.pause, lastAsk)
}

// Room returns how many bytes Ask may discard.
func (c *Closing) Room() int { return FullSpeed - c.discarded }

// Shorten limits lingering to ShortLinger from now on, because a drain waits for it.
func (c *Closing) Shorten(now int64) {
	if c.phase == lingering {
		c.end = min(c.end, now+int64(ShortLinger))
	}
}

// Next returns what to do now. It changes nothing, so a repeated call returns the same.
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

// Timer returns when Next has to be called again at the latest, or zero if that does
// not depend on time.
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
