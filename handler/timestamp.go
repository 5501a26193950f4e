package handler

import "time"

// timestamp is a time on both clocks, like time.Time, in two words instead of three: an
// idle client consists of little else.
type timestamp struct {
	wall int64 // Unix time in nanoseconds
	mono int64 // monotonic nanoseconds since epoch
}

// epoch is the origin of monotonic times.
var epoch = time.Now()

func now() timestamp {
	return timestamp{wall: time.Now().UnixNano(), mono: int64(time.Since(epoch))}
}

func (t timestamp) time() time.Time { return time.Unix(0, t.wall) }

func (t timestamp) elapsed() time.Duration { return time.Since(epoch) - time.Duration(t.mono) }
