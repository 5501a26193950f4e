// Package logger creates log/slog loggers: from a configuration, and such that nobody who
// logs waits for the writer.
package logger
