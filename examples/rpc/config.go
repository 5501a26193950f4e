package main

import (
	"time"

	"wireline/admin"
	"wireline/config"
	"wireline/lib/field"
	"wireline/lib/frame"
	"wireline/lib/logger"
	"wireline/tcp"
)

// Config is the configuration: a section of the program's own beside those of the server, of its
// admin side and of the log.
type Config struct {
	TCP   tcp.Config    `config:"tcp"`
	RPC   RPC           `config:"rpc"`
	Admin admin.Config  `config:"admin"`
	Log   logger.Config `config:"log"`
}

// RPC says what clients may do.
type RPC struct {
	// MaxMessage is the longest message in bytes, either way.
	MaxMessage int `config:"max_message,size" default:"1MiB" help:"longest message, either way"`

	// MaxInFlight is how many calls of one client may run at the same time. While there are that many,
	// the client is not read from.
	MaxInFlight int `config:"max_in_flight" default:"100" help:"calls of one client that may run at the same time"`

	// CallTimeout ends a call that takes longer, with the code timeout.
	CallTimeout time.Duration `config:"call_timeout" default:"10s" help:"end a call that takes longer"`

	// IdleTimeout closes a client on whose connection nothing has moved for this time.
	IdleTimeout time.Duration `config:"idle_timeout" default:"2m" help:"close a client on whose connection nothing moves for this time"`
}

// Validate reports values that are out of range. config.Load calls it.
func (r *RPC) Validate() error {
	var e field.Errors
	e.Check(r.MaxMessage > 0 && r.MaxMessage <= frame.MaxMax, "MaxMessage", r.MaxMessage, "must be between 1 and 512 MiB")
	e.Check(r.MaxInFlight > 0, "MaxInFlight", r.MaxInFlight, "must be positive")
	e.Check(r.CallTimeout > 0, "CallTimeout", r.CallTimeout, "must be positive")
	e.Check(r.IdleTimeout >= time.Second, "IdleTimeout", r.IdleTimeout, "must be a second or more")
	return e.Err()
}

// options name the program and its variables, and set a default of its own.
func options(args, environ []string) config.Options {
	return config.Options{
		Name: "rpc", Prefix: "RPC", Args: append([]string{}, args...), Environ: append([]string{}, environ...),
		Defaults: map[string]string{"tcp.address": defaultAddress, "log.connections": "false"},
		Notes: "Call a method of a server that runs: rpc call --help\n\n" +
			"Exit codes: 0 clean stop, 1 serving failed or clients were cut, 2 bad usage or configuration, or an address that cannot be bound.",
	}
}

// defaultAddress is where the server listens, and where calls go, if nothing else is said.
const defaultAddress = "127.0.0.1:7100"
