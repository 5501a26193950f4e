package eventloop

import (
	"time"

	"go.uber.org/atomic"
)

// learnt is what the watchdog knows about the functions of a group. It owns the fields that are
// not atomic.
type learnt struct {
	blocking atomic.Bool  // functions have goroutines of their own
	slow     atomic.Int32 // slow calls in those goroutines since counted
	long     atomic.Int64 // nanoseconds in long calls there since counted

	inside int    // looks of this window that found one of the functions running
	length uint64 // of the calls that were found: the longer, the more

	counted  int64
	used     time.Duration // processor time of the process until counted, and time it queued for one
	onLoops  time.Duration // time that all loops had spent in functions until counted
	lastSlow int64         // when too many calls were slow
	quiet    time.Duration
	left     int64                // when blocking was cleared
	taken    [takeoverLimit]int64 // a ring: when loops were taken away
	takes    int
}

// found notes that a look has found a function of the group running. epochs is by how much the
// epoch of the loop has grown since the look before: little, if calls are long.
func (n *learnt) found(epochs uint64) {
	n.inside++
	n.length += 1000 / (1 + epochs/2)
}

// longest returns the group that is most likely the one whose functions wait, if functions on the
// loops do: those whose calls are long. If it is the wrong one, it comes back to the loops, and
// the right one is the longest that is left.
func longest(groups []*Group) (most *Group) {
	for _, g := range groups {
		if g.learnt.inside > 0 && (most == nil || g.learnt.length > most.learnt.length) {
			most = g
		}
	}
	return most
}

// lost notes that a loop was taken away from a function of the group. onLoops is as for judge.
func (n *learnt) lost(now int64, onLoops time.Duration) {
	n.taken[n.takes%takeoverLimit] = now
	n.takes++
	if n.takes >= takeoverLimit && now-n.taken[n.takes%takeoverLimit] < int64(takeoverWindow) {
		n.block(now, onLoops)
	}
}

// block gives functions goroutines of their own from now on.
func (n *learnt) block(now int64, onLoops time.Duration) {
	if n.blocking.Load() {
		return
	}
	switch {
	case n.left != 0 && now-n.left < int64(n.quiet):
		n.quiet = min(2*n.quiet, maxQuiet)
	default:
		n.quiet = minQuiet
	}
	n.slow.Store(0)
	n.long.Store(0)
	n.counted, n.used, n.onLoops, n.lastSlow = now, cpuTime()+runDelay(), onLoops, now
	n.blocking.Store(true)
	n.takes = 0
}

// judge brings the functions back to the loops when few were slow, and they waited for
// little of the time, for long enough. A single slow call says little: the system may not
// have run it for a moment. onLoops is how long all loops together were in functions so far: that
// time was probably used by other groups.
func (n *learnt) judge(now int64, onLoops time.Duration) {
	if elapsed := time.Duration(now - n.counted); elapsed >= takeoverWindow {
		used := cpuTime() + runDelay()
		inFunctions := time.Duration(n.long.Swap(0))
		byOthers := max(onLoops-n.onLoops, 0)
		if n.slow.Swap(0) >= takeoverLimit || unaccounted(inFunctions, max(used-n.used-byOthers, 0), elapsed) {
			n.lastSlow = now
		}
		n.counted, n.used, n.onLoops = now, used, onLoops
	}
	if now-n.lastSlow > int64(n.quiet) {
		n.blocking.Store(false)
		n.left = now
	}
}
