// Package timeout bounds the wait for a peer, but not by time in which this process was stopped.
package timeout

import (
	"context"
	"sync"
	"time"

	"wireline/internal/eventloop"
)

const (
	// LookTime is how long the Read of a Look may take. A socket answers at once; other connections
	// need a moment.
	LookTime = 50 * time.Millisecond

	// grace is the most that this side gets to finish its own work.
	grace = time.Second
)

// past is a deadline that interrupts a Read.
var past = time.Unix(1, 0)

// Timeout is a context that bounds an exchange with a peer. It ends after a while, as that of
// context.WithTimeout. But the process may have been stopped for a while (SIGSTOP), and what the
// peer has sent in time waits in the socket. So the timeout is extended
// once: by the whole limit if the process was stopped, and something has arrived or this side
// works; otherwise, if something arrives just then or this side works, by a second at most.
//
// All methods are safe for concurrent use.
type Timeout struct {
	context.Context // ends with the timeout, or by Stop

	limit time.Duration
	cause error
	end   context.CancelCauseFunc
	conn  Conn

	mu       sync.Mutex
	timer    *time.Timer
	due      time.Time
	extended bool
	stopped  bool  // it has begun again, because the process was stopped
	again    bool  // Again was called
	reading  *Conn // in whose Read a goroutine waits; nil if there is none
	looking  bool  // that Read was interrupted, to look
	late     bool  // the process was stopped before that
}

// New starts a timeout. When it expires, cause is the cause. Call Stop.
func New(parent context.Context, limit time.Duration, cause error) *Timeout {
	t := &Timeout{limit: limit, cause: cause, due: time.Now().Add(limit)}
	t.Context, t.end = context.WithCancelCause(parent)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(limit, t.expire)
	return t
}

// Deadline implements context.Context: it tells when the timeout is due now.
func (t *Timeout) Deadline() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if parent, ok := t.Context.Deadline(); ok && parent.Before(t.due) {
		return parent, true
	}
	return t.due, true
}

// Stop ends the context without a cause, and stops the timer.
func (t *Timeout) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Stop()
	t.end(nil)
}

func (t *Timeout) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case time.Now().Before(t.due): // it was extended at this moment
	case t.extended:
		t.end(t.cause)
	case t.reading != nil:
		t.late = t.isLate()
		t.extendLocked(grace) // for a connection that has no deadlines
		t.looking = true
		t.reading.Conn.SetReadDeadline(past)
	case t.restartLocked():
	default:
		t.extendLocked(grace)
	}
}

// extendLocked has the timeout expire after d, or after the limit if that is less.
func (t *Timeout) extendLocked(d time.Duration) {
	d = min(d, t.limit)
	t.extended, t.due = true, time.Now().Add(d)
	t.timer.Reset(d)
}

// isLate reports whether it is so late that the process was stopped. The caller holds mu.
func (t *Timeout) isLate() bool { return time.Since(t.due) > eventloop.LateTimer }

// restartLocked starts the timeout again if it is so late that the process was stopped.
func (t *Timeout) restartLocked() bool {
	if t.extended || !t.isLate() {
		return false
	}
	t.extendLocked(t.limit)
	t.stopped = true
	return true
}

// Again reports, once, whether to repeat what has failed at the deadline: the process was stopped
// then.
func (t *Timeout) Again() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restartLocked()
	again := t.stopped && !t.again && t.Err() == nil
	t.again = true
	return again
}

// enter notes that c is read.
func (t *Timeout) enter(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reading = c
}

// leave notes that the Read is over, and reports whether it was interrupted. What it has found so late
// came while the process was stopped, and expire may not have been called yet.
func (t *Timeout) leave(found bool) (interrupted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reading = nil
	if found && !t.looking {
		t.restartLocked()
	}
	return t.looking
}

// looked notes whether the Read that was interrupted has found something.
func (t *Timeout) looked(found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looking = false
	switch {
	case found && t.late:
		t.extendLocked(t.limit)
	case !found:
		t.end(t.cause)
	}
}
