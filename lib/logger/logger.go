package logger

import (
	"io"
	"log/slog"
	"time"
)

// levels has the valid values of Config.Level.
var levels = map[string]slog.Level{
	"":      slog.LevelInfo,
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// New returns a logger that writes to w as cfg says. It is asynchronous, as those of [Async]:
// call [Flush] before the process ends. New returns the error of cfg.Validate.
func New(w io.Writer, cfg Config) (*slog.Logger, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: levels[cfg.Level]}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if cfg.Format == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	return Async(slog.New(h)), nil
}

// Seconds returns an attribute with d in seconds, as a number. The unit is added to key: the
// key "took" becomes "took_s". All durations in the log lines of this module have this form,
// with every handler: log/slog itself writes a duration as text in one of its handlers, and
// as a number of nanoseconds without a unit in the other.
func Seconds(key string, d time.Duration) slog.Attr {
	return slog.Float64(key+"_s", d.Seconds())
}
