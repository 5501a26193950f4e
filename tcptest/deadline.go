package tcptest

import "time"

// deadline is the time at which waiting ends. The zero value never comes. The
// mutex of its owner guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set moves the deadline to t, or takes it away if t is zero. Once t has passed,
// wake is called in a goroutine of its own; a t in the past is the caller's to
// announce. A call of wake for an earlier deadline may still come, so it only
// tells waiters to look at passed again.
func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	if t.IsZero() {
		return
	}
	// On the monotonic clock, which the timer runs on: else a step of the wall
	// clock could let the timer fire before passed agrees.
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

// stop takes the deadline away.
func (d *deadline) stop() {
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}
