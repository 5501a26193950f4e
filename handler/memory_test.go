package handler

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"wireline/internal/timestamp"
)

// evicted notes which connections were ended, in their order.
type evicted struct {
	mu   sync.Mutex
	list []int
}

func (e *evicted) held(n int) *Held {
	return &Held{Evict: func(error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.list = append(e.list, n)
	}}
}

func (e *evicted) take() []int {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// Over the limit the largest are ended, whichever grows, and of those that are about as large
// the one that has been so longest.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended evicted
		var held []*Held
		m := &Memory{Limit: 1 << 20}
		for i := range 8 {
			held = append(held, ended.held(i))
			m.Hold(held[i], int64(i)<<15) // 0 to 224 KiB; 896 KiB in all
		}
		if list := ended.take(); list != nil || m.Overrun() || m.Used() != 896<<10 {
			t.Fatalf("ended %v, %d used", list, m.Used())
		}
		small := ended.held(8)
		m.Hold(small, 128<<10)
		if list := ended.take(); list != nil || m.Overrun() {
			t.Fatalf("ended %v at the limit", list)
		}
		m.Hold(small, 160<<10) // what is beyond the limit must be more than the slack
		list := ended.take()
		if len(list) != 1 || list[0] < 5 { // 5 to 8 hold more than 128 KiB
			t.Fatalf("ended %v, want one of the largest", list)
		}
		if m.Used() <= m.Limit {
			t.Error("the connection that is being ended does not count any more")
		}
		m.Hold(held[0], 16<<10) // what is being ended is as good as gone
		if list := ended.take(); list != nil {
			t.Errorf("ended %v as well", list)
		}
		for _, h := range append(held, small) {
			m.Hold(h, 0)
		}
		if m.Used() != 0 || m.Overrun() || m.ending.Load() != 0 {
			t.Errorf("%d used, %d of it ending; nothing is held", m.Used(), m.ending.Load())
		}
	})
}

// In a class the one that came first is ended first.
func TestMemoryEndsTheOldest(t *testing.T) {
	s := new(memoryShard)
	var held []*Held
	for range 5 {
		h := new(Held)
		held = append(held, h)
		s.move(h, 1000)
		h.bytes = 1000
	}
	s.move(held[2], 0) // leaves
	held[2].bytes = 0
	s.move(held[0], 2000) // and another class
	held[0].bytes = 2000
	s.move(held[1], 1024) // the same class
	var order []int
	for h := s.lists[memoryClass(1000)].first; h != nil; h = h.next {
		order = append(order, slices.Index(held, h))
	}
	if !slices.Equal(order, []int{1, 3, 4}) || s.classes != 1<<memoryClass(1000)|1<<memoryClass(2000) {
		t.Errorf("order %v, classes %b", order, s.classes)
	}
	for _, h := range held {
		if h.bytes > 0 {
			s.move(h, 0)
		}
	}
	if s.classes != 0 {
		t.Errorf("classes %b are left", s.classes)
	}
}

// Also of those in different shards.
func TestMemoryEndsTheOldestOfAll(t *testing.T) {
	m := &Memory{Limit: 1 << 20}
	var held []*Held
	for i := range 2 * memoryShards {
		h := &Held{shard: &m.shards[(7*i+3)%memoryShards]}
		held = append(held, h)
		for began := timestamp.Clock(); timestamp.Clock() == began; { // the clock of Windows moves in steps
		}
		m.Hold(h, 1000)
	}
	for i := range held {
		if h, _ := m.takeLargest(); h != held[i] {
			t.Fatalf("number %d is taken after %d others", slices.Index(held, h), i)
		}
	}
	if n := m.lasting(); n != 0 || m.Used() != 1000*int64(len(held)) {
		t.Errorf("%d bytes last, of %d", n, m.Used())
	}
	for _, h := range held {
		m.Hold(h, 0)
	}
	if m.lasting() != 0 || m.Used() != 0 {
		t.Error("something is held")
	}
}

// While connections that are being ended go, no other one is ended.
func TestMemoryEndsNoMoreThanItMust(t *testing.T) {
	for range 200 {
		var ended atomic.Int32
		m := &Memory{Limit: 1 << 20}
		var all sync.WaitGroup
		for range 64 {
			h := new(Held)
			h.Evict = func(error) {
				ended.Add(1)
				all.Go(func() { m.Hold(h, 0) })
			}
			m.Hold(h, 32<<10)
		}
		for m.requests.Load() != 0 {
			runtime.Gosched()
		}
		all.Wait()
		if n := ended.Load(); n != 32 && n != 33 {
			t.Fatalf("%d of 64 were ended, want 32", n)
		}
	}
}

// Without anybody to end, Memory is just over the limit.
func TestMemoryWithNobodyToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{Limit: 80}
		h := &Held{Evict: func(error) {}}
		for n := range int64(100) {
			m.Hold(h, n)
			synctest.Wait()
			if got, want := m.Overrun(), n > 90; got != want {
				t.Errorf("overrun is %t for %d bytes", got, n)
			}
		}
		m.Hold(h, 0)
		if m.Overrun() {
			t.Error("overrun by nothing")
		}
	})
}

func TestMemoryWithoutLimit(t *testing.T) {
	for _, m := range []*Memory{nil, {}} {
		var h Held // has no Evict
		m.Hold(&h, 1<<40)
		if m.Used() != 0 || m.Overrun() {
			t.Error("counts without a limit")
		}
	}
}

// Many connections at the same time: the limit holds, all are ended at most once, and in the
// end nothing is held.
func TestMemoryConcurrently(t *testing.T) {
	const limit, largest = 1 << 20, 64 << 10
	m := &Memory{Limit: limit}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			var mu sync.Mutex // as that of a client
			var ended bool
			var h Held
			h.Evict = func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if ended || err == nil {
					t.Errorf("ended twice, or without an error: %v", err)
				}
				ended = true
				m.Hold(&h, 0)
			}
			for range 1000 {
				mu.Lock()
				if !ended {
					m.Hold(&h, rand.Int64N(largest))
				}
				mu.Unlock()
			}
			mu.Lock()
			defer mu.Unlock()
			m.Hold(&h, 0)
		})
	}
	all.Wait()
	if m.Used() != 0 || m.Overrun() {
		t.Errorf("%d used", m.Used())
	}
	for i := range m.shards {
		if m.shards[i].classes != 0 {
			t.Errorf("shard %d is not empty", i)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	m := &Memory{Limit: 1 << 30}
	b.RunParallel(func(pb *testing.PB) {
		var h Held
		for pb.Next() {
			m.Hold(&h, 100)
			m.Hold(&h, 0)
		}
	})
}
