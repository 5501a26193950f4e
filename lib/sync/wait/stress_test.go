package wait_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wireline/lib/sync/wait"
)

// A goroutine's Done brings the count to zero and is about to wake the waiters. Before
// it does, another goroutine adds work and waits for it. That Done must not end this
// wait.
//
// A test cannot force this interleaving. So several goroutines hand out work and wait
// for it, all on one count, for half a second. A wait may only return when the work of
// its goroutine is done.
func TestWaitIsNotWokenByAnEarlierZero(t *testing.T) {
	const waiters = 3
	var (
		w             wait.Wait
		tries, bad    atomic.Int64
		all           sync.WaitGroup
		end           = time.Now().Add(500 * time.Millisecond)
		ended, cancel = context.WithCancel(t.Context())
	)
	cancel()
	for i := range waiters {
		work := make(chan *atomic.Bool)
		all.Go(func() {
			for done := range work {
				for range i {
					runtime.Gosched()
				}
				done.Store(true)
				w.Done()
			}
		})
		all.Go(func() {
			defer close(work)
			for time.Now().Before(end) {
				var done atomic.Bool
				w.Add(1)
				work <- &done
				w.WaitContext(ended) // sets waiting, so that Done wakes
				w.Wait()
				tries.Add(1)
				if !done.Load() {
					bad.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := bad.Load(); n > 0 {
		t.Errorf("%d of %d waits returned while work was in flight", n, tries.Load())
	}
}
