// Package logger makes the program's log/slog logger from its configuration,
// and tells ordinary disconnects from errors that somebody should see.
package logger
