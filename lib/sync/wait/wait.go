package wait

import (
	"context"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"go.uber.org/atomic"
)

// Wait counts work in flight. The zero value has a count of zero and is ready to use.
// It is safe for concurrent use, and must not be copied after first use.
//
// A wait ends when the count is zero at some moment. Work added after that moment is
// not waited for: to wait for all work, stop adding work first.
type Wait struct {
	n       stdatomic.Int64
	waiting atomic.Bool // whether zero is set; Add reads it without mu

	mu   sync.Mutex
	zero chan struct{} // closed when the count becomes zero; nil if nobody waits
}

// Add adds delta, which may be negative, to the count. It panics if the count becomes
// negative: then Done was called too often.
func (w *Wait) Add(delta int) {
	n := w.n.Add(int64(delta))
	if n < 0 {
		panic("wait: negative count")
	}
	// A waiter sets waiting and then reads the count. Add changes the count and then
	// reads waiting. So at least one of the two sees the change of the other.
	if n == 0 && w.waiting.Load() {
		w.wake()
	}
}

// Done subtracts one from the count.
func (w *Wait) Done() { w.Add(-1) }

// Count returns the current count.
func (w *Wait) Count() int { return int(w.n.Load()) }

// Wait waits until the count is zero.
func (w *Wait) Wait() {
	if zero := w.idle(); zero != nil {
		<-zero
	}
}

// WaitWithTimeout waits until the count is zero, but not longer than d. It reports
// whether it timed out. It returns false at once if the count is zero already, even if
// d is zero or negative.
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

// WaitContext waits until the count is zero or ctx ends. If ctx ends first, it returns
// the cause of ctx. It returns nil at once if the count is zero already, even if ctx
// has ended.
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

// idle returns nil if the count is zero, and otherwise a channel that is closed when it
// becomes zero. All waiters share one channel, so an abandoned wait leaves nothing
// behind.
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

// wake wakes all waiters, unless work was added after Add saw a count of zero: a waiter
// that came later has to wait for that work too.
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
