package logger

import (
	"io"
	"log/slog"
	"time"

	"go.uber.org/atomic"
)

// levels has the valid values of Config.Level.
var levels = map[string]slog.Level{
	"":      slog.LevelInfo,
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// Log is a logger whose level and format can be changed while it is used. Loggers made of it by
// With and WithGroup change with it, also those made before. New makes one; the zero value is of no
// use. All methods are safe for concurrent use.
type Log struct {
	// Logger is what writes. It is asynchronous, as those of [Async]: call [Flush] before the
	// process ends.
	*slog.Logger

	// Level is the level in force. It may be set at any time; Set sets it too.
	Level *slog.LevelVar

	json *atomic.Bool // the format
}

// New returns a log that writes to w as cfg says. It returns the error of cfg.Validate.
func New(w io.Writer, cfg Config) (*Log, error) {
	l := &Log{Level: new(slog.LevelVar), json: new(atomic.Bool)}
	if err := l.Set(cfg); err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: l.Level}
	l.Logger = Async(slog.New(&formats{
		isJSON: l.json,
		text:   slog.NewTextHandler(w, options),
		json:   slog.NewJSONHandler(w, options),
	}))
	return l, nil
}

// Set changes the level and the format to those of cfg. The new level holds for what is logged
// from now on, the new format for what is written from now on: records that wait to be written
// get it too. If cfg is not valid, Set returns the error of cfg.Validate and changes nothing.
func (l *Log) Set(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	l.json.Store(cfg.Format == "json")
	l.Level.Set(levels[cfg.Level])
	return nil
}

// SetFormat changes the format to format, a value of Config.Format, as Set does. It does not touch
// the level, which may have been set through Level.
func (l *Log) SetFormat(format string) error {
	cfg := Config{Format: format}
	if err := cfg.Validate(); err != nil {
		return err
	}
	l.json.Store(format == "json")
	return nil
}

// Seconds returns an attribute with d in seconds, as a number. The unit is added to key: the
// key "took" becomes "took_s". All durations in the log lines of this module have this form,
// with every handler: log/slog itself writes a duration as text in one of its handlers, and
// as a number of nanoseconds without a unit in the other.
func Seconds(key string, d time.Duration) slog.Attr {
	return slog.Float64(key+"_s", d.Seconds())
}
