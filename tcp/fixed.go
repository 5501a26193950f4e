package tcp

import (
	"wireline/internal/netconn"
)

// Fixed returns the names of the fields, as a field.Error has them, in which next differs from c
// and that cannot change while a server of c listens. They are fields of the listening socket:
// with another Address there is a new one, and Fixed returns nothing.
//
//   - Network, but for another way to say the same
//   - SocketMode and SocketGroup
//   - Socket.ReusePort
//   - Socket.ReceiveBuffer and Socket.SendBuffer if next leaves the size to the system
func (c *Config) Fixed(next *Config) []string {
	_, names := c.keepFixed(*next)
	return names
}

// keepFixed returns next with the values of c in the fields that cannot change, and the names of
// those that differ.
func (c *Config) keepFixed(next Config) (kept Config, names []string) {
	if !c.sameAddress(&next) {
		return next, nil
	}
	if c.listenNetwork() != next.listenNetwork() {
		keep(&names, "Network", &next.Network, c.Network)
	}
	keep(&names, "SocketMode", &next.SocketMode, c.SocketMode)
	keep(&names, "SocketGroup", &next.SocketGroup, c.SocketGroup)
	return next, append(names, next.keepSocket(c)...)
}

// keepSocket gives the options that cannot change on an open socket the values of now, and returns
// the names of those that differ.
func (c *Config) keepSocket(now *Config) (names []string) {
	keep(&names, "Socket.ReusePort", &c.Socket.ReusePort, now.Socket.ReusePort)
	if c.Socket.ReceiveBuffer == 0 {
		keep(&names, "Socket.ReceiveBuffer", &c.Socket.ReceiveBuffer, now.Socket.ReceiveBuffer)
	}
	if c.Socket.SendBuffer == 0 {
		keep(&names, "Socket.SendBuffer", &c.Socket.SendBuffer, now.Socket.SendBuffer)
	}
	return names
}

// keep gives a field the value that it has now, and adds its name to names if that is another one.
func keep[T comparable](names *[]string, name string, field *T, now T) {
	if *field != now {
		*field = now
		*names = append(*names, name)
	}
}

// sameAddress reports whether c and next name the same address, perhaps in different words. Then
// the listener stays.
func (c *Config) sameAddress(next *Config) bool {
	if c.network() == "unix" || next.network() == "unix" {
		return c.network() == next.network() && netconn.SameUnixPath(c.Address, next.Address)
	}
	if c.address() == next.address() {
		return true
	}
	host, port := splitAddress(c.listenNetwork(), c.address())
	nextHost, nextPort := splitAddress(next.listenNetwork(), next.address())
	return host == nextHost && port == nextPort
}
