package handler

import (
	"errors"
	"fmt"
	"math"
	"time"

	"wireline/internal/closing"
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

// closeMode is how the connection is to be closed. asked tells that CloseWith says so,
// and not the server for all.
func (l *life) closeMode() (mode CloseMode, asked bool) {
	if e := l.ending.Load(); e != nil && e.asked {
		return e.mode, true
	}
	return l.accepted.CloseMode(), false
}

// howToClose is what the end of the connection, and the close mode, demand when all that
// was written is sent. bound is the wait for the client's acknowledgement, zero for none.
func (l *life) howToClose() (how closing.How, bound time.Duration) {
	mode, asked := l.closeMode()
	bound = mode.bound()
	switch why := l.reason(); {
	case why == ReasonCut, why == ReasonSlowReader, why == ReasonWriteTimeout:
		return closing.Reset, bound
	case why == ReasonReset, why == ReasonIOError: // broken: nothing arrives any more
		return closing.FIN, bound
	case mode == CloseReset:
		return closing.Reset, bound
	case why == ReasonFIN, asked && mode != CloseLingering:
		return closing.FIN, bound
	case why == ReasonDrain, why == ReasonIdleTimeout && mode != CloseLingering:
		return closing.Quiet, bound
	}
	return closing.Linger, bound
}
