//go:build linux

package main

import (
	"math/bits"
	"time"
)

// Each power of two is divided into 64 buckets, so a latency of any length is known to within
// 1.6 per cent.
const (
	subBits = 6
	buckets = (64 - subBits) << subBits
)

// histogram counts latencies. The zero value is empty.
type histogram struct {
	counts  [buckets]uint32
	total   int64
	longest time.Duration // exact
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
	h.longest = max(h.longest, d)
}

// quantile returns the latency that the share q of all latencies does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rest := int64(q * float64(h.total))
	for i, n := range h.counts {
		if rest -= int64(n); rest < 0 {
			return middle(i)
		}
	}
	return 0
}

// bucket keeps the leading subBits+1 bits of v: each value below two to that power has its own
// bucket, and larger values share one with their neighbours.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// middle returns the value in the middle of a bucket.
func middle(i int) time.Duration {
	shift := max(i>>subBits-1, 0)
	low := (i - shift<<subBits) << shift
	return time.Duration(low + (1<<shift)/2)
}
