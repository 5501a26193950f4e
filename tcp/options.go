package tcp

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"runtime"
	"time"

	"wireline/handler"
	"wireline/lib/field"
)

// KeepAlive is how a client that has vanished is noticed while nothing is on its way
// to it: after Idle without a byte the kernel sends a probe, then one each Interval,
// and breaks the connection when Count of them were not answered (RFC 9293, 3.8.4).
// The zero value is what package net does.
type KeepAlive struct {
	// Off leaves the probes out.
	Off bool `config:"enable" default:"true" help:"probe silent clients, so that one that has vanished is noticed"`

	// Idle is how long a client is silent before the first probe, in whole
	// seconds. Zero means 15 seconds.
	Idle time.Duration `config:"idle" default:"15s" help:"silence before the first probe, whole seconds"`

	// Interval is the time between two probes, in whole seconds. Zero means 15
	// seconds.
	Interval time.Duration `config:"interval" default:"15s" help:"time between two probes, whole seconds"`

	// Count is how many probes in a row are not answered before the connection
	// is broken. Zero means 9.
	Count int `config:"count" default:"9" help:"unanswered probes before the connection is broken"`
}

// The keep-alive of package net.
const (
	defaultIdle     = 15 * time.Second
	defaultInterval = 15 * time.Second
	defaultCount    = 9
)

// sockopt is a socket option that Config has a field for.
type sockopt int

const (
	noDelay sockopt = iota
	keepAlive
	keepIdle
	keepInterval
	keepCount
	closeLinger
	userTimeout
	backlog
	reusePort
	fastOpen
	deferAccept
	receiveBuffer
	sendBuffer
)

// setting is a socket option with the value that Config gives it.
type setting struct {
	option sockopt
	field  string // of Config
	key    string // of the program's configuration
	given  any    // the field's value
	value  int    // the option's
	def    bool   // that is how it is where Config is the zero value
	path   bool   // a unix socket has it too
}

// settings are the options that c asks for, and those that it leaves at the values of
// package net.
func (c *Config) settings() (list []setting) {
	k := &c.KeepAlive
	idle, interval, count := cmp.Or(k.Idle, defaultIdle), cmp.Or(k.Interval, defaultInterval), cmp.Or(k.Count, defaultCount)
	list = []setting{
		{noDelay, "Nagle", "tcp.no_delay", !c.Nagle, flag(!c.Nagle), !c.Nagle, false},
		{keepAlive, "KeepAlive.Off", "tcp.keepalive.enable", !k.Off, flag(!k.Off), !k.Off, false},
		{keepIdle, "KeepAlive.Idle", "tcp.keepalive.idle", idle, int(idle / time.Second), idle == defaultIdle, false},
		{keepInterval, "KeepAlive.Interval", "tcp.keepalive.interval", interval, int(interval / time.Second), interval == defaultInterval, false},
		{keepCount, "KeepAlive.Count", "tcp.keepalive.count", count, count, count == defaultCount, false},
	}
	add := func(o sockopt, field, key string, given any, value int, path bool) {
		if value != 0 {
			list = append(list, setting{o, field, key, given, value, false, path})
		}
	}
	if seconds, ok := c.closeMode().Linger(); ok {
		list = append(list, setting{closeLinger, "Linger", "tcp.linger", c.Linger, seconds, false, false})
	}
	add(userTimeout, "UserTimeout", "tcp.user_timeout", c.UserTimeout, int(roundUp(c.UserTimeout, time.Millisecond)), false)
	add(backlog, "Backlog", "tcp.backlog", c.Backlog, c.Backlog, true)
	add(reusePort, "ReusePort", "tcp.reuse_port", c.ReusePort, flag(c.ReusePort), false)
	add(fastOpen, "FastOpen", "tcp.fast_open", c.FastOpen, c.FastOpen, false)
	add(deferAccept, "DeferAccept", "tcp.defer_accept", c.DeferAccept, int(c.DeferAccept/time.Second), false)
	add(receiveBuffer, "ReceiveBuffer", "tcp.receive_buffer", c.ReceiveBuffer, c.ReceiveBuffer, false)
	add(sendBuffer, "SendBuffer", "tcp.send_buffer", c.SendBuffer, c.SendBuffer, false)
	return list
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// roundUp is d in units, the last one begun counted.
func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit }

// closeMode is Linger; the default where that is not valid.
func (c *Config) closeMode() handler.CloseMode {
	mode, err := handler.ParseCloseMode(c.Linger)
	if err != nil {
		return handler.CloseDefault
	}
	return mode
}

// Bounds of Linux (include/net/tcp.h), which other systems do not exceed.
const (
	maxKeepAlive = 32767 * time.Second // MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL
	maxProbes    = 127                 // MAX_TCP_KEEPCNT
)

// validateOptions checks the fields of socket options.
func (c *Config) validateOptions(e *field.Errors) {
	_, err := handler.ParseCloseMode(c.Linger)
	e.Check(err == nil, "Linger", c.Linger, "must be default, reset, lingering, or whole seconds from 1s to 18h")
	checkKeepAlive := func(name string, d time.Duration) {
		ok := d == 0 || d >= time.Second && d <= maxKeepAlive && d%time.Second == 0
		e.Check(ok, name, d, "must be whole seconds from 1s to 9h")
	}
	checkKeepAlive("KeepAlive.Idle", c.KeepAlive.Idle)
	checkKeepAlive("KeepAlive.Interval", c.KeepAlive.Interval)
	e.Check(c.KeepAlive.Count >= 0 && c.KeepAlive.Count <= maxProbes, "KeepAlive.Count", c.KeepAlive.Count, "must be from 1 to 127")
	e.Check(c.UserTimeout >= 0 && c.UserTimeout <= math.MaxInt32*time.Millisecond, "UserTimeout", c.UserTimeout, "must not be negative, or over 24 days")
	e.Check(c.DeferAccept >= 0 && c.DeferAccept%time.Second == 0 && c.DeferAccept <= time.Hour,
		"DeferAccept", c.DeferAccept, "must be whole seconds, an hour at most")
	for _, n := range []struct {
		name  string
		value int
	}{{"Backlog", c.Backlog}, {"FastOpen", c.FastOpen}, {"ReceiveBuffer", c.ReceiveBuffer}, {"SendBuffer", c.SendBuffer}} {
		e.Check(n.value >= 0 && n.value <= math.MaxInt32/2, n.name, n.value, "must not be negative, or over 1073741823")
	}
	for _, s := range c.settings() {
		switch {
		case s.def:
		case c.Network == "unix" && !s.path:
			e.Check(false, s.field, s.given, "is not for unix sockets")
		case !supports(s.option):
			e.Check(false, s.field, s.given, "is not supported on "+runtime.GOOS)
		}
	}
}

// apply sets the options on fd, a socket that does not listen yet.
func (c *Config) apply(fd uintptr) error {
	for _, s := range c.settings() {
		if s.option == backlog || c.Network == "unix" || !inherited(s.option) {
			continue
		}
		if err := setOption(fd, s.option, s.value); err != nil {
			return fmt.Errorf("%s %v: %w", s.key, s.given, err)
		}
	}
	return nil
}

// keepAliveOf is for what package net itself sets on each connection that it accepts.
func (c *Config) keepAliveOf() net.KeepAliveConfig {
	k := &c.KeepAlive
	return net.KeepAliveConfig{
		Enable:   !k.Off && !inherited(keepAlive),
		Idle:     cmp.Or(k.Idle, defaultIdle),
		Interval: cmp.Or(k.Interval, defaultInterval),
		Count:    cmp.Or(k.Count, defaultCount),
	}
}
