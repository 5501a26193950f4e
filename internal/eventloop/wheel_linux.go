package eventloop

import (
	"math"
	"sync"
	"time"
)

const (
	// slot is the resolution of a wheel: a timer is late by up to one slot and one
	// tick of the watchdog.
	slot = 10 * time.Millisecond

	slots = 512
)

// wheel has the timers of a loop's sockets. Each slot has a list of those that expire
// with it, in this turn of the wheel or a later one. Time is counted in slots.
type wheel struct {
	mu     sync.Mutex
	heads  [slots]*Socket
	first  [slots]int64 // no timer of the list expires before; zero for an empty list
	turned int64        // the last slot that expire has looked at
}

// set makes s expire at due, by the clock of Group.Now; zero is never.
func (w *wheel) set(s *Socket, due int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := int64(0)
	if due > 0 {
		end = max((due+int64(slot)-1)/int64(slot), w.turned+1)
	}
	if s.due != end {
		w.unlink(s)
		w.link(s, end)
	}
}

func (w *wheel) remove(s *Socket) { w.set(s, 0) }

func (w *wheel) link(s *Socket, end int64) {
	if end == 0 {
		return
	}
	i := end % slots
	s.due, s.prev, s.next = end, nil, w.heads[i]
	if s.next != nil {
		s.next.prev = s
	}
	w.heads[i] = s
	if w.first[i] == 0 || end < w.first[i] {
		w.first[i] = end
	}
}

func (w *wheel) unlink(s *Socket) {
	if s.due == 0 {
		return
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		i := s.due % slots
		w.heads[i] = s.next
		if s.next == nil {
			w.first[i] = 0
		}
	}
	s.due, s.next, s.prev = 0, nil, nil
}

// expire removes the sockets that have expired at now, and appends them to due.
func (w *wheel) expire(now int64, due []*Socket) []*Socket {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := now / int64(slot)
	for n := max(w.turned+1, last-slots+1); n <= last; n++ {
		i := n % slots
		if w.first[i] == 0 || w.first[i] > last {
			continue
		}
		s := w.heads[i]
		w.heads[i], w.first[i] = nil, 0
		for s != nil {
			next, end := s.next, s.due
			s.due, s.next, s.prev = 0, nil, nil
			if end <= last {
				due = append(due, s)
			} else {
				w.link(s, end)
			}
			s = next
		}
	}
	w.turned = max(w.turned, last)
	return due
}

// next returns when the first socket expires; MaxInt64 if there is none.
func (w *wheel) next() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := int64(math.MaxInt64)
	for _, end := range w.first {
		if end != 0 {
			first = min(first, end*int64(slot))
		}
	}
	return first
}
