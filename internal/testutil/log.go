package testutil

import (
	"log"
	"log/slog"
	"testing"
)

// SetDefaultLog makes l slog.Default() until the end of the test. slog.SetDefault alone cannot take
// itself back: it also leads package log to l, to which the first default log writes.
func SetDefaultLog(t testing.TB, l *slog.Logger) {
	before, output, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(l)
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(output)
		log.SetFlags(flags)
	})
}

// SilenceLog discards the output of slog.Default() until the end of the test. Use it in
// tests that cause log lines on purpose.
func SilenceLog(t testing.TB) { SetDefaultLog(t, slog.New(slog.DiscardHandler)) }
