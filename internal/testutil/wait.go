package testutil

import (
	"testing"
	"time"
)

const (
	// Patience bounds how long a test waits before it fails.
	Patience = 30 * time.Second

	// Slack is how late a timeout may expire on a busy machine.
	Slack = 10 * time.Second
)

// Soon reports whether ok returns true within d.
func Soon(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// Eventually waits until ok returns true, and ends the test if it does not within
// Patience. Use it where no event tells of the change.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Soon(Patience, ok) {
		t.Fatalf("timed out waiting: %s", what)
	}
}

// Await waits for a value from c or for c to be closed, and ends the test if neither
// happens within Patience.
func Await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(Patience):
		t.Fatalf("timed out waiting: %s", what)
		panic("not reached")
	}
}
