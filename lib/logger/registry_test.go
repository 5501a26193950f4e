package logger

import (
	"io"
	"log/slog"
	"runtime"
	"testing"

	"wireline/internal/testutil"
)

// The registry keeps nothing of a queue that nobody uses.
func TestForget(t *testing.T) {
	before := len(queues.live())
	func() {
		log := Async(slog.New(slog.NewTextHandler(io.Discard, nil)))
		log.Info("used")
		Flush(testutil.Patience)
	}()
	testutil.Eventually(t, "forgotten", func() bool {
		runtime.GC()
		queues.mu.Lock()
		defer queues.mu.Unlock()
		return len(queues.all) <= before && len(queues.byHandler) <= before
	})
}
