// Package timestamp has a time on both clocks that is smaller than a time.Time.
package timestamp

import "time"

// Time is a time on both clocks, like time.Time, in two words instead of three: an idle
// connection consists of little else.
type Time struct {
	wall int64 // Unix time in nanoseconds
	mono int64 // monotonic nanoseconds since epoch
}

// epoch is the origin of monotonic times.
var epoch = time.Now()

// Now returns the current time.
func Now() Time {
	return Time{wall: time.Now().UnixNano(), mono: int64(time.Since(epoch))}
}

// Clock returns nanoseconds of the monotonic clock, for what needs no time of day. It costs half of
// Now.
func Clock() int64 { return int64(time.Since(epoch)) }

// Time returns the time of the wall clock.
func (t Time) Time() time.Time { return time.Unix(0, t.wall) }

// Elapsed returns how long ago t was, by the monotonic clock.
func (t Time) Elapsed() time.Duration { return time.Since(epoch) - time.Duration(t.mono) }
