package client

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

// The values that hold if those of a Backoff are zero.
const (
	defaultFirst = 500 * time.Millisecond
	defaultMax   = 30 * time.Second
)

// Backoff says how long a client waits before it connects again. The limit of the wait doubles with
// each attempt, and the wait is anything between zero and the limit, at random (full jitter): so the
// clients of a server that has failed come back spread over time, and not in waves. See
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
type Backoff struct {
	// First is the limit of the first wait. Zero or less means 500 ms.
	First time.Duration

	// Max bounds the limit, also that of the first wait. Zero or less means 30 seconds, or First if
	// that is longer.
	Max time.Duration
}

// Delay returns the wait before an attempt; attempts count from zero. It has no state: the result
// depends on the attempt and on one number of the source.
func (b Backoff) Delay(attempt int, source rand.Source) time.Duration {
	wait, _ := bits.Mul64(source.Uint64(), uint64(b.Limit(attempt))) // a fraction of the limit, without a division
	return time.Duration(wait)
}

// Limit returns the limit of the wait before an attempt.
func (b Backoff) Limit(attempt int) time.Duration {
	first, most := b.First, b.Max
	if first <= 0 {
		first = defaultFirst
	}
	if most <= 0 {
		most = max(defaultMax, b.First)
	}
	limit := first
	for ; attempt > 0 && limit < most; attempt-- {
		if limit > most/2 {
			return most
		}
		limit *= 2
	}
	return min(limit, most)
}

// process is the random source of the process.
type process struct{}

// Uint64 implements rand.Source.
func (process) Uint64() uint64 { return rand.Uint64() }
