package natsbus

import "errors"

// sweepBatch is how many entries a process looks at in one heartbeat.
const sweepBatch = 10

// sweep removes the entries of processes that have ended without removing them. Every process goes
// through the bucket, some entries in each heartbeat. What it finds without a lease it marks, and
// what it finds marked and without a lease it removes, unless the entry has changed meanwhile.
//
// No entry is removed whose process is sure of it. When the sweep has read the mark, and then has
// seen no lease, the process is not sure of anything: its lease ran out there before it did in the
// bucket. Before it is sure again, it has a new lease and looks at the entry after that. So it sees
// the mark, and writes the entry again, or that there is none any more. Either way, one of the two
// writes fails.
type sweep struct {
	owner *ownership
	next  uint64 // the revision from which on it has not looked yet
}

// run sweeps until the bus ends.
func (s *sweep) run() {
	s.owner.bus.eachHeartbeat(func() {
		if s.owner.valid() {
			s.beat()
		}
	})
}

// beat looks at some entries. After the last one it begins again.
func (s *sweep) beat() {
	bucket, ctx := &s.owner.bucket, s.owner.bus.ctx
	leased := map[nodeID]bool{s.owner.bus.id: true}
	for range sweepBatch {
		key, e, err := bucket.from(ctx, s.next)
		if errors.Is(err, errNoEntry) {
			s.next = 0
		}
		if err != nil {
			return // the next beat goes on here
		}
		s.next = e.revision + 1
		if leased[e.node] || e.node == (nodeID{}) {
			continue
		}
		// That there is a lease is remembered. That there is none must be seen after the entry.
		if leased[e.node], err = bucket.hasLease(ctx, e.node); err != nil || leased[e.node] {
			continue
		}
		if e.marked {
			bucket.remove(ctx, key, e.revision) // if it fails, the next round is there
		} else {
			bucket.mark(ctx, key, e) // the same
		}
	}
}
