// Package logger creates a log/slog logger from a configuration.
package logger
