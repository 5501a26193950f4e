// Package handshakes bounds how many TLS handshakes are computed at the same time.
package handshakes

import (
	"container/list"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"go.uber.org/atomic"
)

// maxTurn is how long a handshake may have a place while others wait. A handshake computes
// for a few milliseconds; one that takes longer waits inside, for example in a
// GetCertificate of the user's that asks another server.
const maxTurn = 250 * time.Millisecond

// Limiter bounds how many TLS handshakes are computed at the same time: each of them has
// a place. One that waits for its peer has none, so silent peers hold up nobody. The zero
// value is ready to use. All methods are safe for concurrent use.
type Limiter struct {
	// Limit is how many; zero means half of the processors, and at least one. Set it before
	// the first handshake; SetLimit changes it later.
	Limit int

	mu        sync.Mutex
	computing []*turn   // those with a place, in the order in which they got it
	advanced  list.List // of *turn: those that wait for a place after their first flight
	fresh     list.List // of *turn: those that wait for a place before their first flight
	watching  bool      // expire will be called

	hung atomic.Int32 // handshakes whose context has ended, and that are not over
}

// turn is what handshakes know of one handshake. The zero value has no place.
type turn struct {
	// advanced says that the first flight has been sent, which is most of the work. Those
	// go first: under load handshakes are completed rather than begun.
	advanced bool

	began   time.Time // when it got its place
	granted chan struct{}
}

func (h *Limiter) max() int {
	if h.Limit > 0 {
		return h.Limit
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// SetLimit changes Limit. If it grows, handshakes that wait go on at once. If it gets smaller,
// those that are computed are finished.
func (h *Limiter) SetLimit(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Limit = n
	h.next()
}

// acquire waits for a place. If ctx ends before, it returns the cause.
func (h *Limiter) acquire(ctx context.Context, t *turn) error {
	h.mu.Lock()
	if len(h.computing) < h.max() { // then nobody waits
		h.admit(t)
		h.mu.Unlock()
		return nil
	}
	t.granted = make(chan struct{})
	queue := &h.fresh
	if t.advanced {
		queue = &h.advanced
	}
	place := queue.PushBack(t)
	h.watch()
	h.mu.Unlock()
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	queue.Remove(place) // does nothing if it is not there any more
	h.mu.Unlock()
	h.release(t) // it may have got the place at this moment
	return context.Cause(ctx)
}

// release gives up the place of t, if it has one.
func (h *Limiter) release(t *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.computing, t); i >= 0 {
		h.computing = slices.Delete(h.computing, i, i+1)
		h.next()
	}
}

// admit gives t a place.
func (h *Limiter) admit(t *turn) {
	t.began = time.Now()
	h.computing = append(h.computing, t)
}

// next gives free places to those who wait.
func (h *Limiter) next() {
	for len(h.computing) < h.max() && h.waiting() > 0 {
		queue := &h.advanced
		if queue.Len() == 0 {
			queue = &h.fresh
		}
		t := queue.Remove(queue.Front()).(*turn)
		h.admit(t)
		close(t.granted)
	}
}

func (h *Limiter) waiting() int { return h.advanced.Len() + h.fresh.Len() }

// watch arranges for expire to be called when the oldest turn is to end, if somebody waits.
func (h *Limiter) watch() {
	if h.watching || h.waiting() == 0 || len(h.computing) == 0 {
		return
	}
	h.watching = true
	time.AfterFunc(maxTurn-time.Since(h.computing[0].began), h.expire)
}

// expire takes the places of those who have had them for too long. They go on without.
func (h *Limiter) expire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watching = false
	if h.waiting() > 0 {
		h.computing = slices.DeleteFunc(h.computing, func(t *turn) bool { return time.Since(t.began) >= maxTurn })
		h.next()
		h.watch()
	}
}

// Counts returns how many handshakes are computed, and how many wait for a place.
func (h *Limiter) Counts() (computing, waiting int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.computing), h.waiting()
}
