package testutil

import (
	"testing"
	"time"
)

const (
	// Patience bounds how long a test waits before it fails.
	Patience = 30 * time.Second

	// Slack is how late a timeout may come on a busy machine.
	Slack = 10 * time.Second
)

// Soon reports whether ok comes true within d.
func Soon(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// Eventually demands that ok comes true. It is for what no event tells of.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Soon(Patience, ok) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// Await demands a value from c, or its end.
func Await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(Patience):
		t.Fatalf("waited in vain: %s", what)
		panic("not reached")
	}
}
