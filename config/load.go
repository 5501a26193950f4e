package config

import (
	"errors"
	"reflect"
	"time"
)

// Loaded is a valid configuration, and the action that the command line asks for.
type Loaded struct {
	Config Config
	Action Action

	settings []*setting // one for each key, in the order of the schema
}

// Load reads the configuration from args, the command line without the program's name, and
// environ, the environment as os.Environ returns it. The file is that of the flag --config
// or else of the variable WIRELINE_CONFIG.
//
// The error has all problems, one a line and each an *Error: first those in the file, then
// in the environment, in the flags, and last the values that are out of range. With
// --version or --help nothing else is read, so that they work with every configuration;
// Config is the zero value then.
func Load(args, environ []string) (*Loaded, error) {
	l := &Loaded{}
	in := read(walk(reflect.TypeFor[Config]()), args, environ)
	if in.action == Version || in.action == Help {
		l.Action = in.action
		return l, nil
	}
	in.inherit()
	in.assign(&l.Config)
	settle(&l.Config)
	in.check(&l.Config)
	if len(in.problems) > 0 {
		return nil, errors.Join(in.problems...)
	}
	l.Action, l.settings = in.action, in.settings
	return l, nil
}

// settle changes the values that mean something else in a package's Config: there zero
// means the default, and here the user has written the zero.
func settle(c *Config) {
	if c.TCP.DrainTimeout == 0 { // "reset at once", for which tcp has negative values
		c.TCP.DrainTimeout = -1
	}
	if c.Proxy.DrainReply == 0 { // "do not wait", likewise
		c.Proxy.DrainReply = -1
	}
	keepAlive, up := &c.TCP.Socket.KeepAlive, &c.Proxy.KeepAlive
	for _, d := range []*time.Duration{&keepAlive.Idle, &keepAlive.Interval, &up.Idle, &up.Interval} {
		if *d == 0 { // not the default, but out of range
			*d = -1
		}
	}
	for _, n := range []*int{&keepAlive.Count, &up.Count, &c.TCP.PrefixV4, &c.TCP.PrefixV6} {
		if *n == 0 {
			*n = -1
		}
	}
}
