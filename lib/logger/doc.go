// Package logger makes the program's log/slog logger from its configuration.
package logger
