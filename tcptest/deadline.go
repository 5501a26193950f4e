package tcptest

import "time"

// deadline is a time at which waiting ends. The zero value is no deadline. It is
// guarded by the mutex of its owner.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set sets the deadline to t; if t is zero, it removes the deadline. When t has passed,
// wake is called in a new goroutine. If t is in the past, the caller has to wake the
// waiters. wake may still be called for an earlier deadline, so it must only make
// waiters check passed again.
func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	if t.IsZero() {
		return
	}
	// Use the monotonic clock, as the timer does. Otherwise, after a step of the
	// wall clock, the timer could fire before passed returns true.
	left := time.Until(t)
	d.at = time.Now().Add(left)
	switch {
	case left <= 0:
	case d.timer == nil:
		d.timer = time.AfterFunc(left, wake)
	default:
		d.timer.Reset(left)
	}
}

// stop removes the deadline.
func (d *deadline) stop() {
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}
