package logger

import "wireline/lib/field"

// Config says what is logged and how. The zero value logs messages of level info and
// above as text, without a record of each connection.
type Config struct {
	// Level is the lowest level that is logged: debug, info, warn or error. Empty means
	// info.
	Level string `config:"level" default:"info" help:"debug, info, warn or error"`

	// Format is text or json. Each message is one line. Empty means text.
	Format string `config:"format" default:"text" help:"text or json"`

	// Connections logs one record for each connection when it ends.
	Connections bool `config:"connections" default:"true" help:"one record for each connection when it ends"`
}

// Validate returns an error for every field that is out of range, each a *field.Error,
// joined with errors.Join.
func (c *Config) Validate() error {
	var e field.Errors
	_, known := levels[c.Level]
	e.Check(known, "Level", c.Level, "must be debug, info, warn or error")
	e.Check(c.Format == "" || c.Format == "text" || c.Format == "json",
		"Format", c.Format, "must be text or json")
	return e.Err()
}
