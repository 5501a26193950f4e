package handler

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// CloseMode is how a connection is closed. docs/closing.md shows what each mode looks
// like from the other side.
type CloseMode int32

const (
	// CloseDefault is a plain close: the kernel sends what is left, then a FIN,
	// and nobody waits for it. If input was not read, a RST takes its place, and
	// may destroy the last reply on its way.
	CloseDefault CloseMode = 0

	// CloseReset is a RST at once: what the client does not have yet is thrown
	// away, and no TIME_WAIT stays behind. Where there is none, as on unix
	// sockets, it is a plain close.
	CloseReset CloseMode = -1

	// CloseLingering sends the FIN, reads and discards until the client's FIN,
	// for two seconds and some MiB at most, and closes then: the last reply
	// survives unread input.
	CloseLingering CloseMode = -2
)

// maxBound is the largest time that SO_LINGER takes on every system.
const maxBound = math.MaxUint16 * time.Second

// CloseBounded is a close that waits until the client has acknowledged all that was
// written, and the FIN, but no longer than limit: SO_LINGER with a time. What the
// client sends meanwhile is discarded, some MiB at most, where the system is Linux. A
// connection counts, and holds up a drain, until then. Like SO_LINGER it knows whole
// seconds: a part of one counts as one.
func CloseBounded(limit time.Duration) CloseMode {
	limit = min(max(limit, 1), maxBound)
	return CloseMode((limit + time.Second - 1) / time.Second)
}

// ParseCloseMode reads a mode as configurations have it: default, reset, lingering, or
// the whole seconds of CloseBounded, as 5s. Empty is default.
func ParseCloseMode(text string) (CloseMode, error) {
	switch text {
	case "", "default":
		return CloseDefault, nil
	case "reset":
		return CloseReset, nil
	case "lingering":
		return CloseLingering, nil
	}
	limit, err := time.ParseDuration(text)
	if err != nil || limit < time.Second || limit > maxBound || limit%time.Second != 0 {
		return CloseDefault, fmt.Errorf("handler: close mode %q: %w", text, errCloseMode)
	}
	return CloseBounded(limit), nil
}

var errCloseMode = errors.New("is not default, reset, lingering, or whole seconds")

// String is the inverse of ParseCloseMode.
func (m CloseMode) String() string {
	switch {
	case m == CloseReset:
		return "reset"
	case m == CloseLingering:
		return "lingering"
	case m > 0:
		return m.bound().String()
	}
	return "default"
}

// Linger is what the socket option SO_LINGER is to be for the mode: seconds, 0 for a
// RST. ok is false where the option has no part in it.
func (m CloseMode) Linger() (seconds int, ok bool) {
	switch {
	case m == CloseReset:
		return 0, true
	case m > 0:
		return int(m), true
	}
	return 0, false
}

// bound is the time of CloseBounded, zero for the other modes.
func (m CloseMode) bound() time.Duration { return max(time.Duration(m), 0) * time.Second }

// CloseWith is Close with a mode of its own for this client, in the place of the
// server's. CloseReset does not wait for what was written, and also ends a client that
// is about to be closed in another way. The others change nothing if the client has its
// end already. It returns nil, at once.
func (c *Client) CloseWith(mode CloseMode) error {
	end := &ending{by: ByServer, reason: Closed, mode: mode, asked: true}
	c.ending.CompareAndSwap(nil, end)
	if mode == CloseReset {
		c.abort(ByServer, Closed, nil)
	} else {
		c.wire.wake()
	}
	return nil
}

// closeMode is how the connection is to be closed. asked tells that CloseWith says so,
// and not the server for all.
func (c *Client) closeMode() (mode CloseMode, asked bool) {
	if e := c.ending.Load(); e != nil && e.asked {
		return e.mode, true
	}
	return c.wire.serverMode(), false
}

// setsLinger reports whether the socket may have SO_LINGER from its listener.
func (c *Client) setsLinger() bool {
	_, ok := c.wire.serverMode().Linger()
	return ok
}

// parting is what becomes of a connection when all that was written is sent, or cannot
// be.
type parting int

const (
	withFIN     parting = iota // close, once acknowledged if the mode is so
	withRST                    //
	silent                     // a FIN in any case, and lingering if the client is still sending
	withDiscard                // a lingering close
)

// parting is what the end demands, and how connections are to be closed.
func (c *Client) parting() parting {
	mode, asked := c.closeMode()
	switch why := c.reason(); {
	case why == Cut, why == SlowReader, why == WriteTimeout:
		return withRST
	case why == Reset, why == IOError: // broken: nothing arrives any more
		return withFIN
	case mode == CloseReset:
		return withRST
	case why == FIN, asked && mode != CloseLingering:
		return withFIN
	case why == Drain, why == IdleTimeout && mode != CloseLingering:
		return silent
	}
	return withDiscard
}
