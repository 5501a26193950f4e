package testutil

import "testing"

// Reduced reports whether tests are to repeat less: with -short, and with the race detector, which
// runs beside a run without it.
func Reduced() bool { return RaceEnabled || testing.Short() }

// Long marks a test that takes seconds: -short leaves it out.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes seconds: left out by -short")
	}
}
