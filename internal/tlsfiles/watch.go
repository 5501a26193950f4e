// Package tlsfiles reads the files of TLS settings, and reads them again while they are in use.
// Files that hang delay nobody for long: a [Reader] bounds the reads, and a [Watch] reads
// beside those who use its value.
package tlsfiles

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// every is the minimum time between the beginnings of two reads.
	every = time.Second

	// briefly is how long Refresh waits for a read.
	briefly = 250 * time.Millisecond
)

// Watch keeps a value up to date that is made of files. NewWatch makes one; its methods may be
// called from any goroutine.
type Watch[T any] struct {
	load  func(*Reader) T
	log   func() *slog.Logger
	value atomic.Pointer[T]

	mu      sync.Mutex
	looked  time.Time     // when the last read began
	reading chan struct{} // closed at the end of the read that is under way; nil without one
	slow    bool          // the last read has taken longer than briefly, or this one does
}

// NewWatch returns a Watch with its first value, which was read just now. load reads the files
// again and returns the value, or the old one if the files cannot be used. One goroutine at a
// time calls it. If it panics, or calls runtime.Goexit, as a handler of the log may, the old
// value stays, and the log has an error.
func NewWatch[T any](first T, load func(*Reader) T, log func() *slog.Logger) *Watch[T] {
	w := &Watch[T]{load: load, log: log, looked: time.Now()}
	w.value.Store(&first)
	return w
}

// Get returns the value in force. It never waits.
func (w *Watch[T]) Get() T { return *w.value.Load() }

// Refresh has the files read again if the last time was a second ago, in another goroutine. It
// waits for the end of that, but only 250 ms from its beginning, and not at all if the read
// before took longer: then the value changes later.
func (w *Watch[T]) Refresh() {
	done, left := w.begin()
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// begin begins a read if it is time for one. It returns for how long to wait for the end of the
// one that is under way.
func (w *Watch[T]) begin() (done <-chan struct{}, left time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	age := time.Since(w.looked)
	if w.reading == nil && age >= every {
		w.looked, age = time.Now(), 0
		w.reading = make(chan struct{})
		go w.read()
	}
	if w.reading == nil || w.slow {
		return nil, 0
	}
	w.slow = age >= briefly
	return w.reading, briefly - age
}

func (w *Watch[T]) read() {
	returned := false
	defer func() {
		v := recover()
		w.end()
		if !returned {
			w.panicked(v)
		}
	}()
	value := w.load(NewReader())
	returned = true
	w.value.Store(&value)
}

// panicked logs a panic with value v; nil is runtime.Goexit.
func (w *Watch[T]) panicked(v any) {
	if v == nil {
		v = "runtime.Goexit"
	}
	w.log().Error("reading the files of TLS panicked, keeping the previous ones", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// end notes the end of a read.
func (w *Watch[T]) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = time.Since(w.looked) >= briefly
	close(w.reading)
	w.reading = nil
}
