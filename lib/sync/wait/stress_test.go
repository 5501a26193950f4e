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

// One goroutine's Done brings the count to zero and is about to wake who waits;
// before it does, another adds work and waits for that. This wait is not to be
// woken by that Done. The moment cannot be made, only met: so a few goroutines
// hand out work and wait for it, all on one count, for a while. The count may
// come to zero only when the work of each is done.
func TestWaitIsNotWokenByAnEarlierZero(t *testing.T) {
	const waiters = 3
	var (
		w            wait.Wait
		tries, bad   atomic.Int64
		all          sync.WaitGroup
		end          = time.Now().Add(500 * time.Millisecond)
		over, enough = context.WithCancel(t.Context())
	)
	enough()
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
				w.WaitContext(over) // somebody waits already when the zero comes
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
