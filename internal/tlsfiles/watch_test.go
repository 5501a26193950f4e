package tlsfiles

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// refreshesIn checks how long Refresh takes, and what Get returns after it.
func refreshesIn(t *testing.T, w *Watch[string], takes time.Duration, want string) {
	t.Helper()
	began := time.Now()
	w.Refresh()
	took := time.Since(began)
	if got := w.Get(); got != want || took != takes {
		t.Errorf("%q after %v, want %q after %v", got, took, want, takes)
	}
}

// A read takes place at most once a second, and its value is used at once.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w := NewWatch("0", func(*Reader) string {
			n++
			return strings.Repeat("I", n)
		}, discard)
		refreshesIn(t, w, 0, "0")
		time.Sleep(every - time.Nanosecond)
		refreshesIn(t, w, 0, "0")
		time.Sleep(time.Nanosecond)
		refreshesIn(t, w, 0, "I")
		refreshesIn(t, w, 0, "I")
		time.Sleep(every)
		if w.Get() != "I" {
			t.Error("Get reads")
		}
		refreshesIn(t, w, 0, "II")
	})
}

// While a read hangs, the old value is there; all wait for it together, once, and briefly.
func TestWatchWhileAReadHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		w := NewWatch("old", func(*Reader) string {
			value, _ := s.read("")
			return value
		}, discard)
		time.Sleep(every)
		for range 100 {
			go w.Refresh()
		}
		refreshesIn(t, w, briefly, "old")
		for range 100 {
			time.Sleep(every / 2)
			refreshesIn(t, w, 0, "old")
		}
		if n := len(s.reads); n != 1 {
			t.Errorf("%d reads at the same time", n)
		}
		s.release <- "new"
		synctest.Wait()
		refreshesIn(t, w, 0, "new") // this begins a read, and does not wait for it
		s.release <- "newer"
		synctest.Wait()
		if got := w.Get(); got != "newer" {
			t.Errorf("%q", got)
		}
		s.release <- "newest" // quickly, so the next read is waited for
		time.Sleep(every)
		refreshesIn(t, w, 0, "newest")
	})
}

// A load that panics, or ends its goroutine, changes nothing; the next one does.
func TestWatchLoadPanics(t *testing.T) {
	for name, end := range map[string]func(){"as asked": func() { panic("as asked") }, "runtime.Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var text bytes.Buffer
				var bad atomic.Bool
				bad.Store(true)
				w := NewWatch("old", func(*Reader) string {
					if bad.Load() {
						end()
					}
					return "new"
				}, func() *slog.Logger { return slog.New(slog.NewTextHandler(&text, nil)) })
				time.Sleep(every)
				refreshesIn(t, w, 0, "old")
				synctest.Wait()
				if got := text.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, name) {
					t.Errorf("the log says %q", got)
				}
				bad.Store(false)
				time.Sleep(every)
				refreshesIn(t, w, 0, "new")
			})
		})
	}
}
