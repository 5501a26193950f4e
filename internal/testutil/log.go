package testutil

import (
	"log/slog"
	"testing"
)

// SilenceLog keeps what a test provokes out of the log, until its end.
func SilenceLog(t testing.TB) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}
