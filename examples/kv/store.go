package main

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shardBits  = 8
	shardCount = 1 << shardBits

	// maxInPlace is the capacity up to which the memory of a value is used
	// again for the next one of its key. What is longer never changes, so it
	// can be read without the lock.
	maxInPlace = 1 << 10

	// intSpace is the room that a counter gets: any number of 64 bits fits.
	intSpace = 20
)

// store is the keys and their values: a map in shards, each with a lock of its
// own. Commands on one key are atomic, those on several keys are for each of
// them.
type store struct {
	now    func() int64 // the time in milliseconds since 1970
	seed   maphash.Seed
	shards [shardCount]shard

	stop    chan struct{} // ends the sweeper
	sweeper sync.WaitGroup
}

// shard is a part of the keys. What finds and changes them wants the lock held:
// store.lock returns it so.
type shard struct {
	mu   sync.Mutex
	now  func() int64
	keys map[string]*entry

	timed []*entry // those with a due time, in no order
	next  int      // where in timed the sweeper looks next

	// Counted here, for nobody else writes to these cache lines now.
	hits, misses, expired int64

	_ [64]byte // the next shard's lock is on another cache line
}

// entry is a key and its value.
type entry struct {
	key   string
	value []byte
	due   int64 // the last millisecond that it is there for; 0 means for ever
	at    int   // its place in timed, if it is due
}

// newStore returns an empty store whose time is now's; nil means time.Now. The
// caller closes it.
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

// appendValue appends the value of a key as a bulk string, or null, and counts
// the hit or miss.
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

// size returns how many keys there are, how many of them have a due time, and
// for how many milliseconds those live on average.
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

// counts returns how many values were found, were not there, and have expired.
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

// find returns the entry of a key, nil if there is none or it is over.
func (sh *shard) find(key []byte) *entry {
	e := sh.keys[string(key)]
	if e == nil || e.due != 0 && sh.over(e, sh.now()) {
		return nil
	}
	return e
}

// over reports whether e is past its time, and has removed it then.
func (sh *shard) over(e *entry, now int64) bool {
	if now <= e.due {
		return false
	}
	sh.remove(e)
	sh.expired++
	return true
}

// set makes a copy of value that of the key. Its due time, if it has one, stays.
func (sh *shard) set(key, value []byte) *entry {
	e := sh.find(key)
	if e == nil {
		e = sh.add(key)
	}
	e.assign(value)
	return e
}

// add adds a key that is not there.
func (sh *shard) add(key []byte) *entry {
	e := &entry{key: string(key)}
	sh.keys[e.key] = e
	return e
}

// remove takes e out.
func (sh *shard) remove(e *entry) {
	sh.persist(e)
	delete(sh.keys, e.key)
}

// expire sets when e is over.
func (sh *shard) expire(e *entry, due int64) {
	if e.due == 0 {
		e.at = len(sh.timed)
		sh.timed = append(sh.timed, e)
	}
	e.due = due
}

// persist takes e's due time away.
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

// assign makes a copy of value that of e: where the old one was, if that is
// small and not much too large.
func (e *entry) assign(value []byte) {
	space := cap(e.value)
	fits := len(value) <= space && (len(value) >= space/2 || space <= 64)
	if e.value != nil && fits && space <= maxInPlace {
		e.value = append(e.value[:0], value...)
		return
	}
	e.value = append([]byte{}, value...)
}
