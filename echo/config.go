package echo

import (
	"time"

	"wireline/lib/field"
	"wireline/lib/frame"
)

// Config bounds what a client of the echo server may do. The zero value takes
// lines up to 64 KiB and sets no time-outs.
type Config struct {
	// MaxLine is the longest line in bytes, its end not counted. Zero means
	// frame.DefaultMax, 64 KiB.
	MaxLine int `config:"max_line,size" default:"64KiB" help:"longest line, its end not counted"`

	// IdleTimeout closes a client after so long without a byte either way.
	// Zero means never.
	IdleTimeout time.Duration `config:"idle_timeout" default:"0s" help:"close after so long without a byte either way, 0s = never"`

	// FrameTimeout closes a client whose line has begun and not ended within
	// it. Zero means never.
	FrameTimeout time.Duration `config:"frame_timeout" default:"0s" help:"a begun line must end within it, 0s = never"`

	// WriteTimeout resets a client that takes no byte of its reply for so
	// long. Zero means never.
	WriteTimeout time.Duration `config:"write_timeout" default:"30s" help:"reset after so long without a byte of the reply taken, 0s = never"`
}

// Validate reports every field that is out of range, each as a *field.Error in
// one joined error.
func (c *Config) Validate() error {
	var e field.Errors
	e.Check(c.MaxLine >= 0 && c.MaxLine <= frame.MaxMax, "MaxLine", c.MaxLine, "must be between 0 and 512 MiB")
	e.Check(c.IdleTimeout >= 0, "IdleTimeout", c.IdleTimeout, "must not be negative")
	e.Check(c.FrameTimeout >= 0, "FrameTimeout", c.FrameTimeout, "must not be negative")
	e.Check(c.WriteTimeout >= 0, "WriteTimeout", c.WriteTimeout, "must not be negative")
	return e.Err()
}
