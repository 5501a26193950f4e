package wait

import (
	"context"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"go.uber.org/atomic"
)

// Wait counts work in flight. The zero value counts none. It is safe for any
// number of goroutines and must not be copied after its first use.
//
// A wait ends at a moment when the count is zero. Work that is added after that
// moment is not waited for; who must not miss any refuses new work first.
type Wait struct {
	n       stdatomic.Int64
	waiting atomic.Bool // whether zero is set; read by Add without the lock

	mu   sync.Mutex
	zero chan struct{} // closed when the count gets to zero; nil when nobody waits
}

// Add adds delta, which may be negative, to the count. It panics when the count
// falls below zero: somebody called Done twice.
func (w *Wait) Add(delta int) {
	n := w.n.Add(int64(delta))
	if n < 0 {
		panic("wait: negative count")
	}
	// A waiter sets waiting before it reads the count, and here the count is
	// changed before waiting is read: one of the two sees the other.
	if n == 0 && w.waiting.Load() {
		w.wake()
	}
}

// Done takes one from the count.
func (w *Wait) Done() { w.Add(-1) }

// Count returns the work in flight at this moment.
func (w *Wait) Count() int { return int(w.n.Load()) }

// Wait returns when the count is zero.
func (w *Wait) Wait() {
	if zero := w.idle(); zero != nil {
		<-zero
	}
}

// WaitWithTimeout waits for the count to be zero, but at most for d. It reports
// whether it timed out; a count that is zero already is no time-out, whatever
// d is.
func (w *Wait) WaitWithTimeout(d time.Duration) (timedOut bool) {
	zero := w.idle()
	if zero == nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-zero:
		return false
	case <-timer.C:
		return true
	}
}

// WaitContext waits for the count to be zero, or for ctx to end; then it
// returns ctx's cause. A count that is zero already is nil, also when ctx has
// ended.
func (w *Wait) WaitContext(ctx context.Context) error {
	zero := w.idle()
	if zero == nil {
		return nil
	}
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// idle returns nil when the count is zero, else a channel that is closed when
// it gets there. All who wait share one channel, so that a wait that is given
// up holds nothing.
func (w *Wait) idle() <-chan struct{} {
	if w.n.Load() == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.zero == nil {
		w.zero = make(chan struct{})
	}
	w.waiting.Store(true)
	if w.n.Load() == 0 {
		w.wakeLocked()
		return nil
	}
	return w.zero
}

// wake wakes those who wait, unless work was added since the count was zero:
// who waits now may have come after that, and the next zero is his.
func (w *Wait) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n.Load() == 0 {
		w.wakeLocked()
	}
}

func (w *Wait) wakeLocked() {
	if w.zero != nil {
		close(w.zero)
		w.zero = nil
	}
	w.waiting.Store(false)
}
