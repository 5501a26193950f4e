package main

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// clock is a time that changes only when the test moves it.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTestStore(t *testing.T) (*store, *clock) {
	c := &clock{time.UnixMilli(1e12)}
	s := newStore(c.now)
	// The sweeper would read the clock while the test moves it.
	s.close()
	return s, c
}

// check checks the invariants of a shard.
func (sh *shard) check(t *testing.T) {
	t.Helper()
	timed := 0
	for key, e := range sh.keys {
		if e.key != key {
			t.Fatalf("%q is stored under %q", e.key, key)
		}
		if e.due == 0 {
			continue
		}
		timed++
		if e.at >= len(sh.timed) || sh.timed[e.at] != e {
			t.Fatalf("%q is not at its place %d of %d", key, e.at, len(sh.timed))
		}
	}
	if timed != len(sh.timed) {
		t.Fatalf("%d keys have a time, %d are listed", timed, len(sh.timed))
	}
}

// A shard behaves like a plain map under random operations.
func TestShardIsAMap(t *testing.T) {
	s, clock := newTestStore(t)
	sh := &s.shards[0] // used for every key
	type value struct {
		text string
		due  int64
	}
	model := make(map[string]value)
	rng := rand.New(rand.NewPCG(1, 1))
	for step := range 200000 {
		if step%10 == 0 {
			clock.t = clock.t.Add(time.Millisecond)
		}
		now := s.now()
		key := strconv.Itoa(rng.IntN(300))
		want, there := model[key]
		if there && want.due != 0 && now > want.due {
			delete(model, key)
			want, there = value{}, false
		}
		e := sh.find([]byte(key))
		if there != (e != nil) || there && (string(e.value) != want.text || e.due != want.due) {
			t.Fatalf("step %d: %q is %+v, want %+v", step, key, e, want)
		}
		switch rng.IntN(6) {
		case 0, 1:
			want.text = strconv.Itoa(step) + string(make([]byte, rng.IntN(2000)))
			sh.set([]byte(key), []byte(want.text))
			model[key] = want
		case 2:
			if e != nil {
				want.due = now + rng.Int64N(1000)
				sh.expire(e, want.due)
				model[key] = want
			}
		case 3:
			if e != nil {
				sh.persist(e)
				want.due = 0
				model[key] = want
			}
		case 4:
			if e != nil && rng.IntN(4) == 0 {
				sh.remove(e)
				delete(model, key)
			}
		case 5:
			sh.sweep(now)
		}
		if step%1000 == 0 {
			sh.check(t)
		}
	}
}

// A few sweeps remove all expired keys, and no others.
func TestSweepByTheClock(t *testing.T) {
	s, clock := newTestStore(t)
	for i := range 10000 {
		key := []byte(strconv.Itoa(i))
		sh := s.lock(key)
		e := sh.set(key, nil)
		if i%2 == 0 {
			sh.expire(e, s.now()+int64(i))
		}
		sh.mu.Unlock()
	}
	clock.t = clock.t.Add(5 * time.Second)
	over := 2500 // every second key has expired by then
	for range 100 {
		s.sweepOnce()
	}
	keys, timed, _ := s.size()
	if keys != 10000-over || timed != 5000-over {
		t.Errorf("%d keys are left, %d of them with a time", keys, timed)
	}
	clock.t = clock.t.Add(time.Millisecond)
	for range 100 {
		s.sweepOnce()
	}
	if keys, _, _ := s.size(); keys != 10000-over-1 {
		t.Errorf("a millisecond later %d keys are left", keys)
	}
	s.each(func(sh *shard) { sh.check(t) })
}

// One sweep leaves no more than about a quarter of the expired keys, and takes a bounded time.
func TestSweepKeepsUp(t *testing.T) {
	s, clock := newTestStore(t)
	const n = 20000
	for i := range n {
		key := []byte(strconv.Itoa(i))
		sh := s.lock(key)
		sh.expire(sh.set(key, nil), s.now())
		sh.mu.Unlock()
	}
	clock.t = clock.t.Add(time.Second)
	s.sweepOnce()
	if keys, _, _ := s.size(); keys > 0 {
		t.Errorf("%d of %d keys are left, all had expired", keys, n)
	}
}

// The memory of a value is reused, unless it is far too large.
func TestAssign(t *testing.T) {
	var e entry
	e.assign(nil)
	if e.value == nil {
		t.Error("an empty value is nil")
	}
	for _, test := range []struct {
		first, second int
		same          bool
	}{
		{10, 5, true}, {10, 10, true}, {10, 100, false}, {500, 400, true}, {500, 10, false},
		{1000, 900, true}, {2000, 1999, false}, {1 << 20, 1 << 20, false},
	} {
		e.value = nil
		e.assign(make([]byte, test.first))
		before := &e.value[0]
		e.assign(make([]byte, test.second))
		if same := before == &e.value[0]; same != test.same || len(e.value) != test.second {
			t.Errorf("%d bytes after %d: the same memory is %v", test.second, test.first, same)
		}
	}
}
