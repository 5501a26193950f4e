package main

import "time"

const (
	// sweepPause is the time between two sweeps of the keys with an expiry time.
	sweepPause = 100 * time.Millisecond

	// sweepBatch is how many keys of a shard are checked under one hold of its lock.
	sweepBatch = 20

	// sweepRounds limits how many batches of a shard one sweep checks.
	sweepRounds = 100
)

// sweep removes expired keys that no client asks for, until the store is closed.
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

// sweepOnce checks some keys of each shard, and more where over a quarter of them had expired.
// So at most about a quarter of the keys with an expiry time have expired and are still
// stored.
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

// sweep checks the next few keys with an expiry time. It goes backwards, so that the key that
// takes the place of a removed one has been checked already.
func (sh *shard) sweep(now int64) (looked, removed int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for looked < min(sweepBatch, len(sh.timed)+removed) {
		if sh.next <= 0 || sh.next > len(sh.timed) {
			sh.next = len(sh.timed)
		}
		sh.next--
		if sh.removeExpired(sh.timed[sh.next], now) {
			removed++
		}
		looked++
	}
	return looked, removed
}
