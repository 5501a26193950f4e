package proxy_test

import (
	"sync"
	"testing"
	"time"
)

// watchPauses watches for how long goroutines of the test process do not run although they could.
// longest ends that, and returns the longest time.
func watchPauses(t *testing.T) (longest func() time.Duration) {
	const interval = 5 * time.Millisecond
	stop, stopped := make(chan struct{}), make(chan struct{})
	var most time.Duration
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-ticker.C:
				now := time.Now()
				most, last = max(most, now.Sub(last)-interval), now
			}
		}
	}()
	end := sync.OnceFunc(func() { close(stop); <-stopped })
	t.Cleanup(end)
	return func() time.Duration { end(); return most }
}
