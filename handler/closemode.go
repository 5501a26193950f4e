package handler

import (
	"fmt"
	"math"
	"time"

	"wireline/internal/closing"
	"wireline/lib/field"
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

// maxLimit is the largest time that SO_LINGER takes on every system.
const maxLimit = math.MaxUint16 * time.Second

// CloseWithin is a close that waits until the client has acknowledged all that was
// written, and the FIN, but no longer than limit: SO_LINGER with a time. On Linux what the
// client sends meanwhile is discarded, some MiB at most. The connection counts, and holds
// up a drain, until then. SO_LINGER has whole seconds: a part of one counts as one.
func CloseWithin(limit time.Duration) CloseMode {
	limit = min(max(limit, 1), maxLimit)
	return CloseMode((limit + time.Second - 1) / time.Second)
}

// Limit returns the time of CloseWithin; zero for the other modes.
func (m CloseMode) Limit() time.Duration { return max(time.Duration(m), 0) * time.Second }

// setsLinger reports whether the server sets SO_LINGER for the mode.
func (m CloseMode) setsLinger() bool { return m == CloseReset || m > 0 }

// String returns the mode as configurations write it: default, reset, lingering, or the
// time of CloseWithin, as 5s.
func (m CloseMode) String() string {
	switch {
	case m == CloseDefault:
		return "default"
	case m == CloseReset:
		return "reset"
	case m == CloseLingering:
		return "lingering"
	case m > 0:
		return m.Limit().String()
	}
	return fmt.Sprintf("CloseMode(%d)", int32(m))
}

// MarshalText implements encoding.TextMarshaler. The text is String's. A value that is no
// mode is an error.
func (m CloseMode) MarshalText() ([]byte, error) {
	if m < CloseLingering || m.Limit() > maxLimit {
		return nil, closeModeError(m)
	}
	return []byte(m.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. The empty text is CloseDefault.
func (m *CloseMode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "", "default":
		*m = CloseDefault
		return nil
	case "reset":
		*m = CloseReset
		return nil
	case "lingering":
		*m = CloseLingering
		return nil
	}
	limit, err := time.ParseDuration(string(text))
	if err != nil || limit < time.Second || limit > maxLimit || limit%time.Second != 0 {
		return closeModeError(string(text))
	}
	*m = CloseWithin(limit)
	return nil
}

func closeModeError(value any) error {
	return &field.Error{Field: "CloseMode", Value: value, Reason: "must be default, reset, lingering, or whole seconds from 1s to 18h"}
}

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
	bound = mode.Limit()
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
