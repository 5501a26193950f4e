package admin

import (
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
)

// What was counted is kept while somebody looks, and not for longer.
func TestRatesForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rates
		r.init()
		look := func() {
			_, counts, now := r.begin()
			if counts != nil {
				counts[connKey{"a", 1}] = handler.Counts{BytesIn: 1}
			}
			r.end(counts, now)
		}
		kept := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.older.counts) + len(r.newer.counts)
		}
		for range 40 {
			look()
			time.Sleep(leastSpan)
		}
		if n := kept(); n != 2 {
			t.Errorf("%d counts are kept, want 2", n)
		}
		time.Sleep(mostSpan)
		synctest.Wait()
		if n := kept(); n != 0 {
			t.Errorf("%d counts are kept, want none", n)
		}
	})
}
