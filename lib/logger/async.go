package logger

import (
	"context"
	"log/slog"

	"go.uber.org/atomic"
)

// Async returns a logger that writes what log writes, but whose callers never wait: a
// record goes into a queue, and a goroutine passes it on to the handler of log. A full
// pipe, a slow disk or a handler that blocks stops nobody who logs. Nil means
// slog.Default(). If log is asynchronous already, Async returns it as it is.
//
// The queue keeps the order of the records, and holds at most 4 MiB of them, as estimated.
// When it is full, records are dropped: those below level info from half of the size on,
// info from three quarters on, warnings and errors when there is no room at all. A record
// that the handler fails to write counts as dropped. When writing works again, the line
// "log records dropped" says how many there were; [Dropped] counts all.
//
// All calls for the same handler share one queue, as long as it can be compared. Loggers
// made by With from the result share it too. A handler derived before, as that of
// log.With("k", "v"), is another handler and has a queue of its own.
//
// The caller's goroutine calls Enabled, WithAttrs and WithGroup of the handler, which must
// not block, and resolves what implements slog.LogValuer. Slices of bytes are copied. The
// handler sees other values later and in another goroutine: what they point to must not
// change after the call.
//
// The goroutine runs only while there are records to write. Call [Flush] before the process
// ends; a tcp.Group does so at the end of Run. Do not pass the result for slog.Default() to
// slog.SetDefault unless that was called before with a handler of your own: the first
// default of package slog writes to package log, which would write to the result.
func Async(log *slog.Logger) *slog.Logger {
	if log == nil {
		return asyncDefault()
	}
	h := log.Handler()
	if _, ok := h.(*async); ok {
		return log
	}
	return slog.New(&async{inner: h, queue: queueOf(h)})
}

// defaults is what Async returned for slog.Default() the last time.
type defaults struct{ log, async *slog.Logger }

var lastDefault atomic.Pointer[defaults]

// asyncDefault is Async(slog.Default()), without an allocation for each call.
func asyncDefault() *slog.Logger {
	log := slog.Default()
	if d := lastDefault.Load(); d != nil && d.log == log {
		return d.async
	}
	d := &defaults{log: log, async: Async(log)}
	lastDefault.Store(d)
	return d.async
}

// Dropped returns how many records for the handler of log, a logger of [Async], were
// dropped. For other loggers it returns zero.
func Dropped(log *slog.Logger) uint64 {
	if h, ok := log.Handler().(*async); ok {
		return h.queue.total()
	}
	return 0
}

// async is a slog.Handler that queues its records for inner.
type async struct {
	inner slog.Handler
	queue *queue
}

// Enabled implements slog.Handler.
func (h *async) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h *async) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &async{inner: h.inner.WithAttrs(attrs), queue: h.queue}
}

// WithGroup implements slog.Handler.
func (h *async) WithGroup(name string) slog.Handler {
	return &async{inner: h.inner.WithGroup(name), queue: h.queue}
}

// Handle implements slog.Handler. It never fails: failures of the inner handler are counted.
func (h *async) Handle(ctx context.Context, r slog.Record) error {
	r, size := capture(r)
	h.queue.add(entry{ctx: ctx, handler: h.inner, record: r, size: size})
	return nil
}
