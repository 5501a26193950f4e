package handler

import (
	"fmt"
	"math"
	"time"

	"wireline/internal/closing"
	"wireline/lib/field"
)

// CloseMode says how a connection is closed. The zero value is CloseDefault;
// CloseWithin returns further modes. docs/closing.md shows what the peer sees in each
// mode.
type CloseMode int32

const (
	// CloseDefault is a plain close: the kernel sends pending output and a FIN in the
	// background. If there was unread input, the kernel sends a RST instead, which may
	// destroy the last reply before the client has read it.
	CloseDefault CloseMode = 0

	// CloseReset sends a RST at once. Output that the client does not have yet is lost,
	// and no TIME_WAIT state remains. A connection that has no RST, such as a unix
	// socket, is closed plainly.
	CloseReset CloseMode = -1

	// CloseLingering sends a FIN, then discards input until the client's FIN, for at
	// most two seconds and a few MiB, and then closes. So the last reply survives
	// unread input.
	CloseLingering CloseMode = -2
)

// maxLimit is the largest time that SO_LINGER takes on every system.
const maxLimit = math.MaxUint16 * time.Second

// CloseWithin returns the mode of a close that waits until the client has acknowledged
// all output and the FIN, but not longer than limit, as SO_LINGER with a timeout does.
// Meanwhile it discards input, on Linux only, and at most a few MiB. The connection
// counts as open during the wait, and a drain waits for it too. Like SO_LINGER, limit
// is in whole seconds: it is rounded up, to between 1 and 65535 seconds.
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

// closeMode returns the close mode of the connection. asked reports that CloseWith has
// set it; otherwise it is the mode of the server.
func (l *life) closeMode() (mode CloseMode, asked bool) {
	if e := l.ending.Load(); e != nil && e.asked {
		return e.mode, true
	}
	return l.accepted.CloseMode(), false
}

// howToClose returns how to close the connection after all output is sent, according to
// the close mode and the reason. bound limits the wait for the acknowledgement; zero
// means no wait.
func (l *life) howToClose() (how closing.How, bound time.Duration) {
	mode, asked := l.closeMode()
	bound = mode.Limit()
	switch why := l.reason(); {
	case why == ReasonCut, why == ReasonSlowReader, why == ReasonMemory, why == ReasonWriteTimeout:
		return closing.Reset, bound
	case why == ReasonReset, why == ReasonIOError: // the connection is broken: nothing more arrives
		return closing.FIN, bound
	case mode == CloseReset:
		return closing.Reset, bound
	case why == ReasonFIN, asked && mode != CloseLingering:
		return closing.FIN, bound
	case why == ReasonDrain, why.silent() && mode != CloseLingering:
		return closing.Quiet, bound
	}
	return closing.Linger, bound
}

// silent reports whether a connection ended because its client has sent nothing.
func (r Reason) silent() bool {
	return r == ReasonIdleTimeout || r == ReasonReadTimeout || r == ReasonFirstFrameTimeout
}
