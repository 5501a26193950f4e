package config

import (
	"errors"
	"reflect"
	"time"
)

// Loaded is a configuration that was read and found good, and what the command
// line asks to do with it.
type Loaded struct {
	Config Config
	Action Action

	settings []*setting // one for each key, in the order of the schema
}

// Load reads the configuration from args, the command line without the
// program's name, and environ, the environment as os.Environ gives it. The
// file is the one that --config names, else the variable WIRELINE_CONFIG.
//
// Every problem is in the error, one a line and each an *Error, first what is
// wrong in the file, then the environment, the flags, and last the values that
// are out of range. With --version or --help nothing else
// is looked at, so that they work whatever the configuration is like; Config is
// the zero value then.
func Load(args, environ []string) (*Loaded, error) {
	l := &Loaded{}
	in := read(walk(reflect.TypeFor[Config]()), args, environ)
	if in.action == Version || in.action == Help {
		l.Action = in.action
		return l, nil
	}
	in.assign(&l.Config)
	settle(&l.Config)
	in.check(&l.Config)
	if len(in.problems) > 0 {
		return nil, errors.Join(in.problems...)
	}
	l.Action, l.settings = in.action, in.settings
	return l, nil
}

// settle turns what the user says into what a package's Config means by it,
// where the two differ: there a field's zero value is its default, and here a zero is
// one that somebody has written.
func settle(c *Config) {
	if c.TCP.DrainTimeout == 0 { // "cut at once", for which tcp has negative values
		c.TCP.DrainTimeout = -1
	}
	keepAlive := &c.TCP.Socket.KeepAlive
	for _, d := range []*time.Duration{&keepAlive.Idle, &keepAlive.Interval} {
		if *d == 0 { // not the default, but out of range
			*d = -1
		}
	}
	if keepAlive.Count == 0 {
		keepAlive.Count = -1
	}
}
