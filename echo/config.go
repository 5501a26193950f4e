package echo

import (
	"time"

	"wireline/handler"
	"wireline/lib/field"
	"wireline/lib/frame"
)

// Config has the limits for a client of the echo server. The zero value accepts lines
// up to 64 KiB and sets no timeout but WriteTimeout.
type Config struct {
	// MaxLine is the longest line in bytes, without its end. Zero means
	// frame.DefaultMax, 64 KiB.
	MaxLine int `config:"max_line,size" default:"64KiB" help:"longest line, its end not counted"`

	// IdleTimeout closes a client after this time without a byte in either direction.
	// Zero means no timeout.
	IdleTimeout time.Duration `config:"idle_timeout" default:"0s" help:"close after this time without a byte either way, 0s = never"`

	// ReadTimeout closes a client that sends nothing for this time, whatever is sent to it. Zero
	// means no timeout.
	ReadTimeout time.Duration `config:"read_timeout" default:"0s" help:"close after this time without a byte from the client, 0s = never"`

	// FirstFrameTimeout closes a client that has not completed a line this time after it was
	// accepted. Zero means no timeout.
	FirstFrameTimeout time.Duration `config:"first_frame_timeout" default:"0s" help:"the first line must end within this time, 0s = never"`

	// FrameTimeout closes a client that does not complete a line within this time after
	// its first byte. Zero means no timeout.
	FrameTimeout time.Duration `config:"frame_timeout" default:"0s" help:"a line must end within this time of its first byte, 0s = never"`

	// WriteTimeout resets a client that accepts no byte of pending output for this
	// time. Zero means 30 seconds. Negative means no timeout.
	WriteTimeout time.Duration `config:"write_timeout" default:"30s" zero:"-1" help:"reset after this time without a byte of the reply taken, 0s = never"`

	// MaxLifetime closes a client this time after it was accepted, give or take a tenth, at random.
	// Zero means no limit.
	MaxLifetime time.Duration `config:"max_lifetime" default:"0s" help:"close after this time, give or take a tenth, 0s = never"`

	// Limit bounds the lines and bytes a second of one client. The zero value sets no limit.
	Limit handler.Limit `config:"limit"`
}

// Validate returns an error for every field that is out of range, each a *field.Error,
// joined with errors.Join.
func (c *Config) Validate() error {
	var e field.Errors
	e.Check(c.MaxLine >= 0 && c.MaxLine <= frame.MaxMax, "MaxLine", c.MaxLine, "must be between 0 and 512 MiB")
	e.Check(c.IdleTimeout >= 0, "IdleTimeout", c.IdleTimeout, "must not be negative")
	e.Check(c.ReadTimeout >= 0, "ReadTimeout", c.ReadTimeout, "must not be negative")
	e.Check(c.FirstFrameTimeout >= 0, "FirstFrameTimeout", c.FirstFrameTimeout, "must not be negative")
	e.Check(c.FrameTimeout >= 0, "FrameTimeout", c.FrameTimeout, "must not be negative")
	e.Check(c.MaxLifetime >= 0, "MaxLifetime", c.MaxLifetime, "must not be negative")
	e.Add((&handler.Frames{Limit: c.Limit}).Validate())
	return e.Err()
}
