package testutil

import (
	"log/slog"
	"testing"
)

// SilenceLog discards the output of slog.Default() until the end of the test. Use it in
// tests that cause log lines on purpose.
func SilenceLog(t testing.TB) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}
