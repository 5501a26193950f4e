package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"wireline/admin"
	"wireline/config"
	"wireline/examples/gateway/protocol"
	"wireline/handler"
	"wireline/hub"
	"wireline/lib/field"
	"wireline/lib/logger"
	"wireline/tcp"
)

// Config is the configuration: a section of the program's own beside those of the server, of the
// HTTP side and of the log.
type Config struct {
	TCP     tcp.Config    `config:"tcp"`
	Admin   admin.Config  `config:"admin"`
	Log     logger.Config `config:"log"`
	Devices Devices       `config:"devices"`
	NATS    NATS          `config:"nats"`
}

// Validate reports what does not fit together. config.Load calls it.
func (c *Config) Validate() error {
	var e field.Errors
	e.Check(!c.Devices.MatchCertificate || c.TCP.TLS.ClientCA != "", "Devices.MatchCertificate", true, "needs tcp.tls.client_ca")
	return e.Err()
}

// The values of Devices.Second.
const (
	secondRefuse = "refuse"
	secondKick   = "kick"
)

// Devices says which devices may connect, what is asked of them, and where their readings go.
type Devices struct {
	// Known are the ids of the devices. Empty means that any device may connect.
	Known []string `config:"known" help:"ids of the devices, empty = any"`

	// MatchCertificate demands that the id of a device is a name in its certificate, see isFor.
	MatchCertificate bool `config:"match_certificate" default:"false" help:"the id must be the common name or a DNS name of the device's certificate; needs tcp.tls.client_ca"`

	// Second says what happens to a second login with the same id.
	Second string `config:"second" default:"kick" help:"second login with an id: kick the older one, or refuse the newer one"`

	// LoginTimeout ends a connection that has not logged in after this time.
	LoginTimeout time.Duration `config:"login_timeout" default:"10s" help:"time for the login"`

	// Silence ends a device that has sent nothing for this time. It gets a heartbeat after half of
	// it.
	Silence time.Duration `config:"silence" default:"5m" help:"end a device that has sent nothing for this time"`

	// FrameTimeout ends a device that has sent a part of a frame, and not the rest.
	FrameTimeout time.Duration `config:"frame_timeout" default:"10s" help:"time for a frame from its first byte on"`

	// WriteTimeout resets a device that takes no byte of what it is sent for this time.
	WriteTimeout time.Duration `config:"write_timeout" default:"10s" help:"reset a device that takes nothing of what it is sent for this time"`

	// CommandTimeout is how long a command waits for its answer if the request does not say.
	CommandTimeout time.Duration `config:"command_timeout" default:"5s" help:"time for the answer to a command, if the request does not say"`

	// MaxPayload is the longest payload of a frame in bytes.
	MaxPayload int `config:"max_payload,size" default:"1KiB" help:"longest payload of a frame, up to 65530"`

	// Limit is how fast one device may send.
	Limit handler.Limit `config:"limit"`

	// Collector is host:port of what collects the readings. A name that cannot be looked up is tried
	// again. Empty means that readings are only logged.
	Collector string `config:"collector" help:"host:port that the readings are sent to by UDP, empty = none"`
}

// Validate reports values that are out of range. config.Load calls it.
func (d *Devices) Validate() error {
	var e field.Errors
	for _, id := range d.Known {
		e.Check(protocol.IsName(id), "Known", id, fmt.Sprintf("must have 1 to %d letters, digits, dots, hyphens and underscores, the first a letter or a digit", protocol.MaxName))
	}
	e.Check(d.Second == secondKick || d.Second == secondRefuse, "Second", d.Second, "must be kick or refuse")
	e.Check(d.LoginTimeout > 0, "LoginTimeout", d.LoginTimeout, "must be positive")
	e.Check(d.Silence >= time.Second && d.Silence <= 24*time.Hour, "Silence", d.Silence, "must be between 1s and 24h")
	e.Check(d.FrameTimeout > 0, "FrameTimeout", d.FrameTimeout, "must be positive")
	e.Check(d.WriteTimeout > 0, "WriteTimeout", d.WriteTimeout, "must be positive")
	e.Check(d.CommandTimeout > 0 && d.CommandTimeout <= maxCommandTimeout, "CommandTimeout", d.CommandTimeout, "must be positive, and 1m or less")
	e.Check(d.MaxPayload >= minPayload && d.MaxPayload <= protocol.MaxPayload, "MaxPayload", d.MaxPayload,
		fmt.Sprintf("must be between %d and %d", minPayload, protocol.MaxPayload))
	e.Add((&handler.Frames{Limit: d.Limit}).Validate())
	if d.Collector != "" {
		_, _, err := net.SplitHostPort(d.Collector)
		e.Check(err == nil, "Collector", d.Collector, "must be host:port")
	}
	return e.Err()
}

// minPayload is the smallest MaxPayload: the gateway's own messages must fit too.
const minPayload = 256

// second returns Second as the hub has it.
func (d *Devices) second() hub.Second {
	if d.Second == secondKick {
		return hub.KickFirst
	}
	return hub.RefuseSecond
}

// Check looks up the collector, for --check.
func (d *Devices) Check(ctx context.Context, warn func(error)) error {
	if d.Collector == "" {
		return nil
	}
	host, _, _ := net.SplitHostPort(d.Collector)
	if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
		warn(&field.Error{Field: "Collector", Value: d.Collector, Reason: fmt.Sprintf("has no address now: %v", err)})
	}
	return nil
}

// options name the program and its variables, and set defaults of its own.
func options(args, environ []string) config.Options {
	return config.Options{
		Name: "gateway", Prefix: "GATEWAY", Args: append([]string{}, args...), Environ: append([]string{}, environ...),
		Defaults: map[string]string{
			"tcp.address":     "127.0.0.1:7000",
			"tcp.max_clients": "10000",
			"tcp.linger":      "lingering", // what the device is still sending must not destroy the last message to it
			"tcp.grace_delay": "1s",        // for the answers to the commands that are under way
			"admin.address":   "127.0.0.1:7001",

			"devices.limit.frames": "100", // each reading is a line in the log
		},
		Notes: "Exit codes: 0 clean stop, 1 serving failed or devices were cut, 2 bad usage or configuration, or an address that cannot be bound.\n\n" +
			"gateway device --help: a device to try it with.",
	}
}
