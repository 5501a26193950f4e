package eventloop_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for in vain.
const patience = 30 * time.Second

// soon reports whether ok comes true within d.
func soon(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// eventually demands that ok comes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !soon(patience, ok) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// await demands a value from c.
func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
	return v
}

func call(f func()) {
	if f != nil {
		f()
	}
}
