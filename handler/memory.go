package handler

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"

	"go.uber.org/atomic"

	"wireline/internal/timestamp"
)

const (
	// memoryShards is into how many parts a Memory is divided, so that connections on
	// different processors rarely meet.
	memoryShards = 16

	// memorySlack is which part of the limit a shard may hold without telling the others.
	memorySlack = 1024

	// memoryClasses is how many classes of size there are: one up to 1 KiB, and one for
	// each power of two above.
	memoryClasses = 40
)

// Memory is a budget of bytes that connections keep in buffers from one event to the next:
// frames that are not complete yet, and output that the client does not take. A server has
// one for its handlers, see Accepted.Memory, and several servers may share one.
//
// While more than Limit is held, connections are ended with ReasonMemory: the one that holds
// most, and of those that hold about as much, within a factor of two, the one that has done so
// longest. Which one grows does not matter: a client that has filled its buffer and waits would
// win against those that work. Finding it takes constant time. What is held by connections that
// are being ended still counts; see Overrun.
//
// A connection that keeps nothing costs nothing. The zero value has no limit. A Memory must not
// be copied. All methods are safe for concurrent use, and may be called on nil, which has no
// limit.
type Memory struct {
	// Limit is the budget in bytes. Zero or less means no limit. It must not change once
	// a connection counts.
	Limit int64

	used     atomic.Int64 // what the shards have told
	ending   atomic.Int64 // held by connections that are being ended
	requests atomic.Int32 // to end connections, since there was no goroutine that does
	shards   [memoryShards]memoryShard
}

// memoryShard is a part of a Memory, with the connections that count there.
type memoryShard struct {
	mu      sync.Mutex
	held    int64  // by all of its connections
	ending  int64  // of it, by connections that are being ended
	told    int64  // what of it is in Memory.used
	classes uint64 // a bit for each list that is not empty
	lists   [memoryClasses]heldList
}

// heldList is a list of connections that hold about as much, the one that has done so longest
// first.
type heldList struct{ first, last *Held }

// Held is what one connection holds of a Memory. The zero value holds nothing. It must not be
// copied once it is used.
type Held struct {
	// Evict ends the connection, so that it soon holds nothing; err is for its record. It is
	// called at most once, in another goroutine and with no lock held, perhaps when
	// the connection has just ended by itself. It must not block.
	Evict func(err error)

	// Under mu of the shard, except that the owner may read bytes.
	bytes      int64
	prev, next *Held
	shard      *memoryShard // nil before the first Hold
	since      int64        // timestamp.Clock when it came into its list
	class      int8
	evicted    bool
}

// Hold says that the connection of h holds n bytes now, instead of what it said before. Zero
// takes it out. Calls for the same h must not overlap. It does not wait, so locks may be held.
func (m *Memory) Hold(h *Held, n int64) {
	if m == nil || m.Limit <= 0 || n == h.bytes {
		return
	}
	if h.shard == nil {
		h.shard = &m.shards[rand.Uint32()%memoryShards]
	}
	more := n - h.bytes
	m.set(h, n)
	if more > 0 && m.used.Load()-m.ending.Load() > m.Limit && m.requests.Inc() == 1 {
		go m.relieve()
	}
}

// set is Hold for a connection that has a shard.
func (m *Memory) set(h *Held, n int64) {
	s := h.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.evicted {
		m.ending.Add(n - h.bytes)
		s.ending += n - h.bytes
	} else {
		s.move(h, n)
	}
	s.held += n - h.bytes
	h.bytes = n
	if untold := s.held - s.told; max(untold, -untold) > m.Limit/memorySlack {
		m.used.Add(untold)
		s.told = s.held
	}
}

// Used returns how many bytes are held now.
func (m *Memory) Used() (n int64) {
	if m == nil {
		return 0
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += s.held
		s.mu.Unlock()
	}
	return n
}

// lasting returns how many bytes are held by connections that are not being ended. A connection that
// goes meanwhile counts either with both or with neither: the difference of two sums would be too
// large, and one connection too many would be ended.
func (m *Memory) lasting() (n int64) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += s.held - s.ending
		s.mu.Unlock()
	}
	return n
}

// Overrun reports whether more is held than Limit and an eighth of it. Then ending connections
// does not keep up: no further one should be accepted, and those that hold much should not
// hold more.
func (m *Memory) Overrun() bool {
	if m == nil || m.Limit <= 0 {
		return false
	}
	most := m.Limit + m.Limit/8
	return m.used.Load() > most && m.Used() > most
}

// relieve ends connections until no more than Limit is held. There is one call at a time.
func (m *Memory) relieve() {
	for {
		requests := m.requests.Load()
		for m.lasting() > m.Limit {
			h, n := m.takeLargest()
			if h == nil {
				break
			}
			h.Evict(m.errOver(n))
		}
		if m.requests.CompareAndSwap(requests, 0) {
			return
		}
	}
}

// errOver is the error of a connection that holds n bytes and is ended for that.
func (m *Memory) errOver(n int64) error {
	return fmt.Errorf("%d bytes buffered, over the limit of %d for all clients together", n, m.Limit)
}

// takeLargest returns the connection that has been longest in the class of those that hold most, and
// how much it holds, and takes it out of its list; nil if there is none.
func (m *Memory) takeLargest() (h *Held, bytes int64) {
	for {
		s := m.largestShard()
		if s == nil {
			return nil, 0
		}
		s.mu.Lock()
		if s.classes == 0 { // the connection has gone meanwhile
			s.mu.Unlock()
			continue
		}
		h := s.lists[bits.Len64(s.classes)-1].first
		bytes := h.bytes
		s.remove(h)
		h.evicted = true
		m.ending.Add(bytes)
		s.ending += bytes
		s.mu.Unlock()
		return h, bytes
	}
}

// largestShard returns the shard with the connection that has been longest in the largest class; nil
// if there is none.
func (m *Memory) largestShard() (largest *memoryShard) {
	top, since := 0, int64(0)
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		if n := bits.Len64(s.classes); n > 0 && n >= top {
			if first := s.lists[n-1].first; n > top || first.since < since {
				largest, top, since = s, n, first.since
			}
		}
		s.mu.Unlock()
	}
	return largest
}

// memoryClass is the class of a connection that holds n bytes, n > 0.
func memoryClass(n int64) int8 {
	return int8(min(bits.Len64(uint64(n-1)>>10), memoryClasses-1))
}

// move puts h, which is to hold n bytes, into the list for that.
func (s *memoryShard) move(h *Held, n int64) {
	if h.bytes > 0 {
		if n > 0 && memoryClass(n) == h.class {
			return
		}
		s.remove(h)
	}
	if n > 0 {
		h.class = memoryClass(n)
		s.add(h)
	}
}

// add puts h at the end of the list of its class.
func (s *memoryShard) add(h *Held) {
	list := &s.lists[h.class]
	h.since = timestamp.Clock()
	h.prev = list.last
	if h.prev == nil {
		list.first = h
		s.classes |= 1 << h.class
	} else {
		h.prev.next = h
	}
	list.last = h
}

// remove takes h out of the list of its class.
func (s *memoryShard) remove(h *Held) {
	list := &s.lists[h.class]
	if h.prev == nil {
		list.first = h.next
	} else {
		h.prev.next = h.next
	}
	if h.next == nil {
		list.last = h.prev
	} else {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
	if list.first == nil {
		s.classes &^= 1 << h.class
	}
}
