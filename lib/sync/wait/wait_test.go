package wait_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wireline/lib/sync/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestZeroValueWaitsForNothing(t *testing.T) {
	var w wait.Wait
	w.Wait()
	if w.WaitWithTimeout(0) {
		t.Error("WaitWithTimeout(0) timed out at a count of zero")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.WaitContext(ended); err != nil {
		t.Errorf("WaitContext at a count of zero: %v", err)
	}
}

func TestWaitWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Wait
		w.Add(2)
		begin := time.Now()
		if !w.WaitWithTimeout(time.Second) {
			t.Error("WaitWithTimeout did not time out with work in flight")
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("WaitWithTimeout(1s) took %v", took)
		}
		go func() {
			w.Done()
			time.Sleep(3 * time.Second)
			w.Done()
		}()
		if w.WaitWithTimeout(5 * time.Second) {
			t.Error("timed out, although the work was done after 3s")
		}
		if took := time.Since(begin); took != 4*time.Second {
			t.Errorf("both waits took %v, want 4s", took)
		}
	})
}

func TestWaitContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Wait
		w.Add(1)
		why := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		if err := w.WaitContext(ctx); !errors.Is(err, why) {
			t.Errorf("got %v, want the context's cause", err)
		}
		go func() {
			time.Sleep(time.Second)
			w.Done()
		}()
		if err := w.WaitContext(t.Context()); err != nil {
			t.Errorf("got %v after Done", err)
		}
	})
}

// A sync.WaitGroup used like this panics ("Add called concurrently with Wait") or lets
// Wait return early, and the usual timeout around it leaks a goroutine each time.
// goleak detects those at the end.
func TestAddConcurrentWithWait(t *testing.T) {
	var w wait.Wait
	var workers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.Add(1)
					runtime.Gosched()
					w.Done()
				}
			}
		})
	}
	for range 2000 {
		w.WaitWithTimeout(10 * time.Microsecond)
	}
	close(stop)
	workers.Wait()
	w.Wait()
	if n := w.Count(); n != 0 {
		t.Errorf("the count is %d after all work is done", n)
	}
}

func TestManyTimeoutsLeaveNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	var w wait.Wait
	w.Add(1)
	for range 1000 {
		w.WaitWithTimeout(0)
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines before, %d after 1000 timeouts", before, after)
	}
	w.Done()
}

func TestEveryWaiterWakes(t *testing.T) {
	var w wait.Wait
	w.Add(1)
	var waiters sync.WaitGroup
	for range 100 {
		waiters.Go(w.Wait)
	}
	w.Done()
	waiters.Wait()
}

func TestReusedAfterZero(t *testing.T) {
	var w wait.Wait
	for range 1000 {
		w.Add(1)
		go w.Done()
		w.Wait()
	}
}

func TestNegativeCountPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Done at a count of zero did not panic")
		}
	}()
	var w wait.Wait
	w.Done()
}
