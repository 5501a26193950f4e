package tcp

import (
	"cmp"
	"math"
	"net"
	"runtime"
	"time"

	"wireline/handler"
	"wireline/lib/field"
)

// sockopt is a socket option that Config can set.
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

// optionValue is a socket option with the value that Config gives it.
type optionValue struct {
	option sockopt
	field  string // of Config
	key    string // of the program's configuration
	given  any    // the field's value
	value  int    // the option's
	def    bool   // the zero Config has this value
	path   bool   // unix sockets have the option
}

// options returns the options that c sets, and those that it leaves at the values of
// package net.
func (c *Config) options() (list []optionValue) {
	o, k := &c.Socket, &c.Socket.KeepAlive
	idle, interval, count := cmp.Or(k.Idle, defaultIdle), cmp.Or(k.Interval, defaultInterval), cmp.Or(k.Count, defaultCount)
	list = []optionValue{
		{noDelay, "Socket.NoDelay", "tcp.no_delay", o.NoDelay, flag(o.NoDelay.On()), o.NoDelay.On(), false},
		{keepAlive, "Socket.KeepAlive.Enable", "tcp.keepalive.enable", k.Enable, flag(k.Enable.On()), k.Enable.On(), false},
		{keepIdle, "Socket.KeepAlive.Idle", "tcp.keepalive.idle", idle, int(idle / time.Second), idle == defaultIdle, false},
		{keepInterval, "Socket.KeepAlive.Interval", "tcp.keepalive.interval", interval, int(interval / time.Second), interval == defaultInterval, false},
		{keepCount, "Socket.KeepAlive.Count", "tcp.keepalive.count", count, count, count == defaultCount, false},
	}
	add := func(o sockopt, field, key string, given any, value int, path bool) {
		if value != 0 {
			list = append(list, optionValue{o, field, key, given, value, false, path})
		}
	}
	if seconds, ok := soLinger(c.Linger); ok {
		list = append(list, optionValue{closeLinger, "Linger", "tcp.linger", c.Linger, seconds, false, false})
	}
	add(userTimeout, "Socket.UserTimeout", "tcp.user_timeout", o.UserTimeout, int(roundUp(o.UserTimeout, time.Millisecond)), false)
	add(backlog, "Socket.Backlog", "tcp.backlog", o.Backlog, o.Backlog, true)
	add(reusePort, "Socket.ReusePort", "tcp.reuse_port", o.ReusePort, flag(o.ReusePort), false)
	add(fastOpen, "Socket.FastOpen", "tcp.fast_open", o.FastOpen, o.FastOpen, false)
	add(deferAccept, "Socket.DeferAccept", "tcp.defer_accept", o.DeferAccept, int(o.DeferAccept/time.Second), false)
	add(receiveBuffer, "Socket.ReceiveBuffer", "tcp.receive_buffer", o.ReceiveBuffer, o.ReceiveBuffer, false)
	add(sendBuffer, "Socket.SendBuffer", "tcp.send_buffer", o.SendBuffer, o.SendBuffer, false)
	return list
}

// soLinger returns what SO_LINGER is for a close mode: seconds, 0 for a RST. ok is false
// if the mode does not set the option.
func soLinger(mode handler.CloseMode) (seconds int, ok bool) {
	limit := mode.Limit()
	return int(limit / time.Second), limit > 0 || mode == handler.CloseReset
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// roundUp returns d in units. A part of a unit counts as one.
func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit }

// Bounds of Linux (include/net/tcp.h). Other systems do not allow more.
const (
	maxKeepAlive = 32767 * time.Second // MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL
	maxProbes    = 127                 // MAX_TCP_KEEPCNT
)

// validateSocket adds what is wrong with the socket options to e.
func (c *Config) validateSocket(e *field.Errors) {
	o, k := &c.Socket, &c.Socket.KeepAlive
	checkKeepAlive := func(name string, d time.Duration) {
		ok := d == 0 || d >= time.Second && d <= maxKeepAlive && d%time.Second == 0
		e.Check(ok, name, d, "must be whole seconds from 1s to 9h")
	}
	checkKeepAlive("Socket.KeepAlive.Idle", k.Idle)
	checkKeepAlive("Socket.KeepAlive.Interval", k.Interval)
	e.Check(k.Count >= 0 && k.Count <= maxProbes, "Socket.KeepAlive.Count", k.Count, "must be from 1 to 127")
	e.Check(o.UserTimeout >= 0 && o.UserTimeout <= math.MaxInt32*time.Millisecond,
		"Socket.UserTimeout", o.UserTimeout, "must not be negative, or over 24 days")
	e.Check(o.DeferAccept >= 0 && o.DeferAccept%time.Second == 0 && o.DeferAccept <= time.Hour,
		"Socket.DeferAccept", o.DeferAccept, "must be whole seconds, an hour at most")
	for _, n := range []struct {
		name  string
		value int
	}{{"Backlog", o.Backlog}, {"FastOpen", o.FastOpen}, {"ReceiveBuffer", o.ReceiveBuffer}, {"SendBuffer", o.SendBuffer}} {
		e.Check(n.value >= 0 && n.value <= math.MaxInt32/2, "Socket."+n.name, n.value, "must not be negative, or over 1073741823")
	}
	for _, s := range c.options() {
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
	for _, s := range c.options() {
		if s.option == backlog || c.Network == "unix" || !inherited(s.option) {
			continue
		}
		if err := setOption(fd, s.option, s.value); err != nil {
			return s.refuse(err)
		}
	}
	return nil
}

// netKeepAlive is what package net is to set on each connection that it accepts: nothing
// if the connections inherit keep-alive from the listener.
func (c *Config) netKeepAlive() net.KeepAliveConfig {
	k := c.keepAliveConfig()
	k.Enable = k.Enable && !inherited(keepAlive)
	return k
}

// keepAliveConfig is the keep-alive of each connection.
func (c *Config) keepAliveConfig() net.KeepAliveConfig {
	k := &c.Socket.KeepAlive
	return net.KeepAliveConfig{
		Enable:   k.Enable.On(),
		Idle:     cmp.Or(k.Idle, defaultIdle),
		Interval: cmp.Or(k.Interval, defaultInterval),
		Count:    cmp.Or(k.Count, defaultCount),
	}
}
