package logger

import (
	"context"
	"log/slog"

	"go.uber.org/atomic"
)

// formats is a slog.Handler that writes in one of two formats, both of which are ready all the
// time: so the loggers derived from it follow a change without a lock. They write to the same
// writer, but not at the same time: the queue before them has one goroutine.
type formats struct {
	isJSON *atomic.Bool // of the Log, for all handlers derived from its own
	text   slog.Handler
	json   slog.Handler
}

// current returns the handler of the format in force.
func (h *formats) current() slog.Handler {
	if h.isJSON.Load() {
		return h.json
	}
	return h.text
}

// Enabled implements slog.Handler. Both handlers have the same level.
func (h *formats) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *formats) Handle(ctx context.Context, r slog.Record) error {
	return h.current().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *formats) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &formats{isJSON: h.isJSON, text: h.text.WithAttrs(attrs), json: h.json.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *formats) WithGroup(name string) slog.Handler {
	return &formats{isJSON: h.isJSON, text: h.text.WithGroup(name), json: h.json.WithGroup(name)}
}
