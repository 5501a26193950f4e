package main

import "time"

const (
	// sweepPause is the time between two looks at the keys with a due time.
	sweepPause = 100 * time.Millisecond

	// sweepBatch is how many keys of a shard are looked at before its lock is
	// let go.
	sweepBatch = 20

	// sweepRounds bounds how often a shard is looked at in one go.
	sweepRounds = 100
)

// sweep removes keys that are over and that nobody asks for, until the store is
// closed.
func (s *store) sweep() {
	tick := time.NewTicker(sweepPause)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.sweepOnce()
		}
	}
}

// sweepOnce looks at some keys of each shard, and at more where over a quarter
// of them was to be removed. So at most about a quarter of the keys with a due
// time is over and still there.
func (s *store) sweepOnce() {
	now := s.now()
	for i := range s.shards {
		for range sweepRounds {
			looked, removed := s.shards[i].sweep(now)
			if removed*4 <= looked {
				break
			}
		}
	}
}

// sweep looks at the next few keys with a due time, backwards, so that what
// takes the place of one that is removed was looked at already.
func (sh *shard) sweep(now int64) (looked, removed int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for looked < min(sweepBatch, len(sh.timed)+removed) {
		if sh.next <= 0 || sh.next > len(sh.timed) {
			sh.next = len(sh.timed)
		}
		sh.next--
		if sh.over(sh.timed[sh.next], now) {
			removed++
		}
		looked++
	}
	return looked, removed
}
