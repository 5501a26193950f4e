// Package histogram counts durations in buckets, for metrics.
package histogram

import (
	"sync/atomic"
	"time"
)

// Latencies are bounds for what takes from half a millisecond to ten seconds: a connect, a
// handshake.
var Latencies = []time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second,
}

// Lifetimes are bounds for what takes from ten milliseconds to days: a connection.
var Lifetimes = []time.Duration{
	10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second,
	time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

// Histogram counts durations in buckets. New makes one. All methods are safe for concurrent
// use, and do not wait.
type Histogram struct {
	bounds []time.Duration
	counts []atomic.Uint64 // one more than bounds: the last is for what is longer
	sum    atomic.Int64
}

// New returns a histogram with a bucket for each of bounds, which rise. A bound belongs to its
// bucket. The bounds must not be changed afterwards.
func New(bounds []time.Duration) *Histogram {
	return &Histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(h.bounds) && d > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot is what a histogram has counted. It has the form that Prometheus wants: the counts
// are cumulative.
type Snapshot struct {
	Count   uint64        // how many durations
	Sum     time.Duration // of all
	Buckets []Bucket      // by rising bounds
}

// Bucket says how many durations were not longer than UpTo.
type Bucket struct {
	UpTo  time.Duration
	Count uint64
}

// Snapshot returns what was counted so far. A duration that is counted meanwhile may be in some
// of its figures, and not in others; Count is never less than that of a bucket.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Load()), Buckets: make([]Bucket, len(h.bounds))}
	for i := range h.counts {
		s.Count += h.counts[i].Load()
		if i < len(h.bounds) {
			s.Buckets[i] = Bucket{h.bounds[i], s.Count}
		}
	}
	return s
}
