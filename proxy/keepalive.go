package proxy

import (
	"cmp"
	"math"
	"net"
	"runtime"
	"syscall"
	"time"

	"wireline/lib/field"
)

// KeepAlive notices an upstream that has vanished while nothing is on its way to it, as
// tcp.KeepAlive does with a client. The zero value is what package net sets. In the program
// a value that is not set is the one of the client's side.
type KeepAlive struct {
	// Enable turns the probes on.
	Enable field.Switch `config:"enable,bool" default:"true" inherit:"tcp.keepalive.enable" help:"probe silent upstreams, so that one that has vanished is noticed; if not set, as tcp.keepalive.enable"`

	// Idle is how long an upstream is silent before the first probe, in whole seconds.
	// Zero means 15 seconds.
	Idle time.Duration `config:"idle" default:"15s" zero:"-1" inherit:"tcp.keepalive.idle" help:"silence before the first probe, whole seconds; if not set, as tcp.keepalive.idle"`

	// Interval is the time between two probes, in whole seconds. Zero means 15 seconds.
	Interval time.Duration `config:"interval" default:"15s" zero:"-1" inherit:"tcp.keepalive.interval" help:"time between two probes, whole seconds; if not set, as tcp.keepalive.interval"`

	// Count is how many probes in a row are not answered before the connection is broken.
	// Zero means 9.
	Count int `config:"count" default:"9" zero:"-1" inherit:"tcp.keepalive.count" help:"unanswered probes before the connection is broken; if not set, as tcp.keepalive.count"`
}

// netKeepAlive is k for package net.
func (k *KeepAlive) netKeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{
		Enable:   k.Enable.On(),
		Idle:     cmp.Or(k.Idle, 15*time.Second),
		Interval: cmp.Or(k.Interval, 15*time.Second),
		Count:    cmp.Or(k.Count, 9),
	}
}

// checkVanished adds what is wrong with KeepAlive and UserTimeout to e. The bounds are those
// of Linux (include/net/tcp.h).
func (c *Config) checkVanished(e *field.Errors) {
	check := func(name string, d time.Duration) {
		ok := d == 0 || d >= time.Second && d <= 32767*time.Second && d%time.Second == 0
		e.Check(ok, name, d, "must be whole seconds from 1s to 9h")
	}
	check("KeepAlive.Idle", c.KeepAlive.Idle)
	check("KeepAlive.Interval", c.KeepAlive.Interval)
	e.Check(c.KeepAlive.Count >= 0 && c.KeepAlive.Count <= 127, "KeepAlive.Count", c.KeepAlive.Count, "must be from 1 to 127")
	e.Check(c.UserTimeout >= 0 && c.UserTimeout <= math.MaxInt32*time.Millisecond,
		"UserTimeout", c.UserTimeout, "must not be negative, or over 24 days")
	e.Check(c.UserTimeout <= 0 || hasUserTimeout, "UserTimeout", c.UserTimeout, "is not supported on "+runtime.GOOS)
}

// dialer makes connections to upstreams with the socket options of c.
func (c *Config) dialer(limit time.Duration) net.Dialer {
	d := net.Dialer{Timeout: limit, KeepAlive: -1, KeepAliveConfig: c.KeepAlive.netKeepAlive()}
	if c.UserTimeout > 0 {
		d.Control = func(network, _ string, raw syscall.RawConn) (err error) {
			if network == "unix" {
				return nil
			}
			if ctlErr := raw.Control(func(fd uintptr) { err = setUserTimeout(fd, c.UserTimeout) }); ctlErr != nil {
				return ctlErr
			}
			return err
		}
	}
	return d
}

// milliseconds returns d in milliseconds. A part of one counts as one.
func milliseconds(d time.Duration) int {
	return int((d + time.Millisecond - 1) / time.Millisecond)
}
