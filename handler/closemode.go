package handler

import (
	"errors"
	"fmt"
	"math"
	"time"

	"wireline/internal/closing"
)

// CloseMode says how a connection is closed. The zero value is CloseDefault;
// CloseBounded returns further modes. docs/closing.md shows what the peer sees in each
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

// maxBound is the largest SO_LINGER timeout that every system accepts.
const maxBound = math.MaxUint16 * time.Second

// CloseBounded returns the mode of a close that waits until the client has acknowledged
// all output and the FIN, but not longer than limit, as SO_LINGER with a timeout does.
// Meanwhile it discards input, on Linux only, and at most a few MiB. The connection
// counts as open during the wait, and a drain waits for it too. Like SO_LINGER, limit
// is in whole seconds: it is rounded up, to between 1 and 65535 seconds.
func CloseBounded(limit time.Duration) CloseMode {
	limit = min(max(limit, 1), maxBound)
	return CloseMode((limit + time.Second - 1) / time.Second)
}

// ParseCloseMode parses a mode as it is written in a configuration: "default", "reset",
// "lingering", or the limit of CloseBounded in whole seconds, such as "5s". An empty
// text means CloseDefault.
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

var errCloseMode = errors.New("must be default, reset, lingering, or whole seconds")

// String returns the text that ParseCloseMode parses.
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

// Linger returns the value of the SO_LINGER socket option for the mode, in seconds; 0
// means RST. ok is false if the mode does not use SO_LINGER.
func (m CloseMode) Linger() (seconds int, ok bool) {
	switch {
	case m == CloseReset:
		return 0, true
	case m > 0:
		return int(m), true
	}
	return 0, false
}

// bound returns the limit of CloseBounded, or zero for the other modes.
func (m CloseMode) bound() time.Duration { return max(time.Duration(m), 0) * time.Second }

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
	bound = mode.bound()
	switch why := l.reason(); {
	case why == ReasonCut, why == ReasonSlowReader, why == ReasonWriteTimeout:
		return closing.Reset, bound
	case why == ReasonReset, why == ReasonIOError: // the connection is broken: nothing more arrives
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
