package logger

import "wireline/lib/field"

// Config is what the log shows and how. The zero value shows info and above as
// text, and no record of each connection.
type Config struct {
	// Level is the least level shown: debug, info, warn or error. Empty means
	// info.
	Level string `config:"level" default:"info" help:"debug, info, warn or error"`

	// Format is text or json, a line each. Empty means text.
	Format string `config:"format" default:"text" help:"text or json"`

	// Connections writes one record for each connection when it ends.
	Connections bool `config:"connections" default:"true" help:"one record for each connection when it ends"`
}

// Validate reports every field that is out of range, each as a *field.Error in
// one joined error.
func (c *Config) Validate() error {
	var e field.Errors
	_, known := levels[c.Level]
	e.Check(known, "Level", c.Level, "must be debug, info, warn or error")
	e.Check(c.Format == "" || c.Format == "text" || c.Format == "json",
		"Format", c.Format, "must be text or json")
	return e.Err()
}
