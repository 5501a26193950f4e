package logger

import (
	"log/slog"
	"reflect"
	"runtime"
	"sync"
	"time"
	"weak"
)

// registry knows all queues of the process, without keeping them alive. A queue lives as
// long as a logger that uses it, or its goroutine.
type registry struct {
	mu        sync.Mutex
	byHandler map[slog.Handler]weak.Pointer[queue] // of handlers that can be compared
	all       map[weak.Pointer[queue]]struct{}
}

var queues = registry{
	byHandler: make(map[slog.Handler]weak.Pointer[queue]),
	all:       make(map[weak.Pointer[queue]]struct{}),
}

// queueOf returns the queue of h, which it makes if there is none.
func queueOf(h slog.Handler) *queue { return queues.of(h) }

func (r *registry) of(h slog.Handler) *queue {
	comparable := reflect.ValueOf(h).Comparable()
	r.mu.Lock()
	defer r.mu.Unlock()
	if comparable {
		if q := r.byHandler[h].Value(); q != nil {
			return q
		}
	}
	q := &queue{base: h}
	name := registered{queue: weak.Make(q)}
	if comparable {
		name.handler = h
		r.byHandler[h] = name.queue
	}
	r.all[name.queue] = struct{}{}
	runtime.AddCleanup(q, r.forget, name)
	return q
}

// registered is how the registry finds a queue.
type registered struct {
	handler slog.Handler // nil if it cannot be compared
	queue   weak.Pointer[queue]
}

// forget removes a queue that does not exist any more.
func (r *registry) forget(name registered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, name.queue)
	if name.handler != nil && r.byHandler[name.handler] == name.queue {
		delete(r.byHandler, name.handler)
	}
}

// live returns the queues that exist.
func (r *registry) live() (list []*queue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.all {
		if q := w.Value(); q != nil {
			list = append(list, q)
		}
	}
	return list
}

// Flush waits until all loggers of [Async] and [New] in the process have written what was
// logged before, for timeout at most, and reports whether they have. It does not wait for
// a queue for which an earlier Flush has waited in vain, if nothing was written since.
func Flush(timeout time.Duration) bool {
	end, all := time.Now().Add(timeout), true
	for _, q := range queues.live() {
		all = q.flush(end) && all
	}
	return all
}

// flush waits until what is in the queue now is written. It asks again and again: a channel
// to wait for would belong to a synctest bubble, and the goroutine that writes may be outside
// of it.
func (q *queue) flush(end time.Time) bool {
	goal := q.goal()
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		done, hopeless := q.flushed(goal)
		switch {
		case done:
			return true
		case hopeless:
			return false
		case !time.Now().Before(end):
			q.giveUp()
			return false
		}
		time.Sleep(pause)
	}
}
