package handler

import "time"

// timestamp is a point in time with both clocks, as time.Time has, but in two words: an
// idle client has little more than its Client.
type timestamp struct {
	wall int64 // Unix time in nanoseconds
	mono int64 // nanoseconds since epoch
}

// epoch is what monotonic time is counted from.
var epoch = time.Now()

func now() timestamp {
	return timestamp{wall: time.Now().UnixNano(), mono: int64(time.Since(epoch))}
}

func (t timestamp) time() time.Time { return time.Unix(0, t.wall) }

func (t timestamp) elapsed() time.Duration { return time.Since(epoch) - time.Duration(t.mono) }
