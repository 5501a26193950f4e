package eventloop

import "time"

// LateTimer is how late a timer may be. If it is later, the process was stopped: then a timeout
// begins again. Whatever decides that asks for this, on any clock.
const LateTimer = 50 * time.Millisecond

// latest is the latest time that After returns, 146 years after a clock began. It leaves room
// for what is added to such a time.
const latest = 1 << 62

// After returns the time d after now, which is a time of a Conn's clock. The longest durations
// do not overflow: they end at a time that nobody lives to see.
func After(now int64, d time.Duration) int64 {
	if now > 0 && int64(d) > latest-now {
		return latest
	}
	return now + int64(d)
}
