package handler

import (
	"iter"
	"time"

	"wireline/internal/timestamp"
)

// Observed is a Handler whose connections can be seen, and ended, from outside: package admin
// does so. Frames, Plain and proxy.Proxy are. All methods must be safe for concurrent use, and
// must hold no connection up.
type Observed interface {
	Handler

	// Totals returns what the handler has done since it was made.
	Totals() Totals

	// Live returns an iterator over the open connections, as they are at this moment. One
	// that comes or goes meanwhile may or may not be included.
	Live() iter.Seq[Live]

	// Last returns the records of the connections that have ended last, the latest first.
	Last() []Record
}

// Live is an open connection, as an operator sees it.
type Live struct {
	Record // so far; By and Reason are set if the connection is about to end

	State   State
	Idle    time.Duration // since the last byte either way
	Pending int           // bytes of output that wait; those that TLS has encrypted are not counted

	// Client is the connection, of a Frames; nil of other handlers. Package admin looks for it in hubs.
	Client *Client

	// Kick ends the connection, with the reason ReasonKicked, and does not wait for that.
	// CloseReset resets it at once, also if it is about to end; other modes end it in good
	// order. It may be called later, and does nothing to a connection that has ended.
	Kick func(mode CloseMode)
}

// State says what a live connection is doing.
type State string

// The states.
const (
	StateIdle      State = "idle"      // nothing is to be done for it
	StateBusy      State = "busy"      // a frame is being served, or output is pending, or it is held
	StatePaused    State = "paused"    // nothing is read from it, because of Pause
	StateHandshake State = "handshake" // of StartTLS
	StateClosing   State = "closing"   // it has ended, and is being closed

	// States of a proxy.
	StateConnecting State = "connecting"  // to an upstream
	StateRelaying   State = "relaying"    // both directions are open
	StateHalfClosed State = "half_closed" // one direction has ended
)

// Totals implements Observed.
func (s *set[M]) Totals() Totals {
	return s.ledger.Totals(func(yield func(Counts) bool) {
		s.members.Range(func(m M) bool { return yield(m.shared().counts()) })
	})
}

// Live implements Observed.
func (s *set[M]) Live() iter.Seq[Live] {
	return func(yield func(Live) bool) {
		s.members.Range(func(m M) bool {
			l := m.live()
			l.Kick = func(mode CloseMode) { m.closeAs(ReasonKicked, mode) }
			return yield(l)
		})
	}
}

// Last implements Observed.
func (s *set[M]) Last() []Record { return s.ledger.Last() }

// live returns the client as an operator sees it.
func (c *Client) live() Live {
	l := Live{Record: c.Record(), Client: c, Idle: time.Duration(c.conn.Now() - c.lastActivity.Load())}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		l.Pending = c.out.Size()
	}
	switch {
	case c.ended():
		l.State = StateClosing
	case c.flags.has(upgrading):
		l.State = StateHandshake
	case c.flags.has(paused):
		l.State = StatePaused
	case c.sending.has(busy) || c.flags.has(holding) || l.Pending > 0:
		l.State = StateBusy
	default:
		l.State = StateIdle
	}
	return l
}

// live returns the connection as an operator sees it.
func (c *Conn) live() Live {
	l := Live{Record: c.Record(), State: StateIdle}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.Idle = time.Duration(timestamp.Clock() - c.active)
	switch {
	case c.ended():
		l.State = StateClosing
	case c.busy:
		l.State = StateBusy
	}
	return l
}
