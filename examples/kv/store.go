package main

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shardBits  = 8
	shardCount = 1 << shardBits

	// maxInPlace is the largest capacity of a value that the next value of its key overwrites
	// in place. A longer value never changes, so it can be read without the lock.
	maxInPlace = 1 << 10

	// intSpace is the capacity that a counter gets: any number of 64 bits fits.
	intSpace = 20
)

// store holds the keys and their values: a map in shards, each with a lock of its own. A
// command on one key is atomic; one on several keys is atomic for each of them.
type store struct {
	now    func() int64 // the time in milliseconds since 1970
	seed   maphash.Seed
	shards [shardCount]shard

	stop    chan struct{} // ends the sweeper
	sweeper sync.WaitGroup
}

// shard is a part of the keys. Its methods that find and change keys need its lock, which
// store.lock acquires.
type shard struct {
	mu   sync.Mutex
	now  func() int64
	keys map[string]*entry

	timed []*entry // those with an expiry time, in no order
	next  int      // the sweeper's position in timed

	// The statistics are here since no other processor writes to these cache lines now.
	hits, misses, expired int64

	_ [64]byte // keeps the next shard's lock on another cache line
}

// entry is a key and its value.
type entry struct {
	key   string
	value []byte
	due   int64 // the last millisecond before it expires; 0 means never
	at    int   // its index in timed, if due is not 0
}

// newStore returns an empty store that takes its time from now; nil means time.Now. The caller
// closes it.
func newStore(now func() time.Time) *store {
	if now == nil {
		now = time.Now
	}
	s := &store{
		now:  func() int64 { return now().UnixMilli() },
		seed: maphash.MakeSeed(),
		stop: make(chan struct{}),
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.now = s.now
		sh.keys = make(map[string]*entry)
	}
	s.sweeper.Go(s.sweep)
	return s
}

// close ends the store's goroutine, and waits for it.
func (s *store) close() {
	close(s.stop)
	s.sweeper.Wait()
}

// lock returns the shard of a key, locked.
func (s *store) lock(key []byte) *shard {
	sh := &s.shards[maphash.Bytes(s.seed, key)>>(64-shardBits)]
	sh.mu.Lock()
	return sh
}

// each calls f with every shard, locked.
func (s *store) each(f func(*shard)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		f(sh)
		sh.mu.Unlock()
	}
}

// appendValue appends the value of a key as a bulk string, or null, and counts the hit or
// miss.
func (s *store) appendValue(dst, key []byte) []byte {
	sh := s.lock(key)
	e := sh.find(key)
	if e == nil {
		sh.misses++
		sh.mu.Unlock()
		return appendNull(dst)
	}
	sh.hits++
	value := e.value
	if cap(value) > maxInPlace {
		sh.mu.Unlock()
		return appendBulk(dst, value)
	}
	dst = appendBulk(dst, value)
	sh.mu.Unlock()
	return dst
}

// size returns how many keys exist, how many of them have an expiry time, and how many
// milliseconds these have left on average.
func (s *store) size() (keys, timed int, ttl int64) {
	now := s.now()
	s.each(func(sh *shard) {
		keys += len(sh.keys)
		timed += len(sh.timed)
		for _, e := range sh.timed {
			ttl += max(e.due-now, 0)
		}
	})
	if timed > 0 {
		ttl /= int64(timed)
	}
	return keys, timed, ttl
}

// counts returns the numbers of hits, misses and expired keys.
func (s *store) counts() (hits, misses, expired int64) {
	s.each(func(sh *shard) {
		hits += sh.hits
		misses += sh.misses
		expired += sh.expired
	})
	return hits, misses, expired
}

// clear removes all keys.
func (s *store) clear() {
	s.each(func(sh *shard) {
		if len(sh.keys) > 0 {
			sh.keys = make(map[string]*entry)
		}
		sh.timed, sh.next = nil, 0
	})
}

// find returns the entry of a key, or nil if it does not exist or has expired.
func (sh *shard) find(key []byte) *entry {
	e := sh.keys[string(key)]
	if e == nil || e.due != 0 && sh.removeExpired(e, sh.now()) {
		return nil
	}
	return e
}

// removeExpired removes e if it has expired, and reports whether it has.
func (sh *shard) removeExpired(e *entry, now int64) bool {
	if now <= e.due {
		return false
	}
	sh.remove(e)
	sh.expired++
	return true
}

// set sets a key to a copy of value. Its expiry time stays.
func (sh *shard) set(key, value []byte) *entry {
	e := sh.find(key)
	if e == nil {
		e = sh.add(key)
	}
	e.assign(value)
	return e
}

// add adds a key that does not exist.
func (sh *shard) add(key []byte) *entry {
	e := &entry{key: string(key)}
	sh.keys[e.key] = e
	return e
}

// remove removes e.
func (sh *shard) remove(e *entry) {
	sh.persist(e)
	delete(sh.keys, e.key)
}

// expire sets when e expires.
func (sh *shard) expire(e *entry, due int64) {
	if e.due == 0 {
		e.at = len(sh.timed)
		sh.timed = append(sh.timed, e)
	}
	e.due = due
}

// persist removes e's expiry time.
func (sh *shard) persist(e *entry) {
	if e.due == 0 {
		return
	}
	e.due = 0
	last := len(sh.timed) - 1
	moved := sh.timed[last]
	sh.timed[e.at], moved.at = moved, e.at
	sh.timed[last] = nil
	sh.timed = sh.timed[:last]
	if cap(sh.timed) > 64 && last < cap(sh.timed)/4 {
		sh.timed = append(make([]*entry, 0, 2*last), sh.timed...)
	}
}

// assign sets e's value to a copy of value: in place if the old one is small and not much too
// large.
func (e *entry) assign(value []byte) {
	space := cap(e.value)
	fits := len(value) <= space && (len(value) >= space/2 || space <= 64)
	if e.value != nil && fits && space <= maxInPlace {
		e.value = append(e.value[:0], value...)
		return
	}
	e.value = append([]byte{}, value...)
}
