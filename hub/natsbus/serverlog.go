package natsbus

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog passes warnings and errors of a server on to a log.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[fatalError] // the first error after which the server does not go on
}

// fatalError is the text of a fatal line of the log, with the error among its arguments.
type fatalError struct {
	text  string
	cause error // nil if there is none
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.cause }

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) write(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "NATS server: "+fmt.Sprintf(format, v...))
}

// Fatalf implements server.Logger. Others exit here.
func (l *serverLog) Fatalf(format string, v ...any) {
	fatal := &fatalError{text: fmt.Sprintf(format, v...)}
	for _, arg := range v {
		if err, ok := arg.(error); ok {
			fatal.cause = err
		}
	}
	l.fatal.CompareAndSwap(nil, fatal)
	l.write(slog.LevelError, format, v)
}

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.write(slog.LevelError, format, v) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.write(slog.LevelWarn, format, v) }

// Noticef implements server.Logger. Notices are not passed on, nor is what follows.
func (l *serverLog) Noticef(string, ...any) {}

// Debugf implements server.Logger.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}
