package tcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"wireline/internal/netconn"
	"wireline/lib/field"
)

// validateAddress adds what is wrong with Network and Address to e.
func (c *Config) validateAddress(e *field.Errors) {
	switch c.network() {
	case "unix":
		// ":8000" is the default, which remains when only the network is set.
		isPath := c.Address != "" && c.Address[0] != ':'
		e.Check(isPath, "Address", c.Address, "must be a path when the network is unix")
		if why := netconn.CheckUnixPath(c.Address); isPath {
			e.Check(why == "", "Address", c.Address, why)
		}
	case "tcp", "tcp4", "tcp6":
		why := c.checkHostPort()
		e.Check(why == "", "Address", c.Address, why)
	default:
		e.Check(false, "Network", c.Network, "must be tcp, tcp4, tcp6 or unix")
	}
}

// checkHostPort returns what is wrong with the address of a TCP listener, or "".
func (c *Config) checkHostPort() (why string) {
	host, port, err := net.SplitHostPort(c.address())
	if err != nil {
		return "must be host:port, and an IPv6 host in brackets, as in [::1]:8000"
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "must have a port from 0 to 65535, or the name of a service"
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil: // a name, or empty
	case c.Network == "tcp4" && !ip.Unmap().Is4():
		return "must be an IPv4 address when the network is tcp4"
	case c.Network == "tcp6" && ip.Unmap().Is4():
		return "must be an IPv6 address when the network is tcp6"
	}
	return ""
}

// listenNetwork is the network for package net, for which 0.0.0.0 with tcp means IPv6 too.
func (c *Config) listenNetwork() string {
	host, _, _ := net.SplitHostPort(c.address())
	if ip, err := netip.ParseAddr(host); c.network() == "tcp" && err == nil && ip == netip.IPv4Unspecified() {
		return "tcp4"
	}
	return c.network()
}

// isEverywhere reports whether a listener at a takes connections to all addresses of the machine.
func isEverywhere(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsUnspecified()
}

// Overlaps reports whether c and other name the same address, or one that the other one is a
// part of, as 127.0.0.1:80 is of :80: two servers cannot listen on both. Names of hosts are not
// looked up. Port 0 is a different port each time.
func (c *Config) Overlaps(other *Config) bool {
	a, b := c.listenNetwork(), other.listenNetwork()
	if a == "unix" || b == "unix" {
		return a == b && netconn.SameUnixPath(c.Address, other.Address)
	}
	hostA, portA := splitAddress(a, c.address())
	hostB, portB := splitAddress(b, other.address())
	switch {
	case portA != portB || portA == 0, a == "tcp4" && b == "tcp6", a == "tcp6" && b == "tcp4":
		return false
	case isWildcard(hostA):
		return isWildcard(hostB) || hasFamily(a, hostB)
	case isWildcard(hostB):
		return hasFamily(b, hostA)
	}
	return hostA == hostB
}

// splitAddress returns the host and the port of an address. localhost and IPv4-mapped addresses
// are written as package net listens on them.
func splitAddress(network, address string) (host string, port int) {
	host, service, _ := net.SplitHostPort(address)
	port, _ = net.LookupPort("tcp", service)
	switch ip, err := netip.ParseAddr(host); {
	case err == nil && network == "tcp" && ip == netip.IPv6Unspecified():
		host = "" // for package net it is the same
	case err == nil:
		host = ip.Unmap().String()
	case host == "localhost" && network == "tcp6":
		host = "::1"
	case host == "localhost":
		host = "127.0.0.1"
	}
	return host, port
}

func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// hasFamily reports whether a wildcard listener of the network may take connections to host.
func hasFamily(network, host string) bool {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil: // a name
		return true
	case network == "tcp4":
		return ip.Is4()
	case network == "tcp6":
		return ip.Is6()
	}
	return true
}

// Check is Validate, and also asks the system what it can tell without listening: whether the
// host in Address has an IP address, whether the folder of a unix socket is there, and, on
// Linux, whether the system takes the socket options. What is left are faults that only
// binding to the address finds. Names are looked up until ctx ends.
func (c *Config) Check(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	var e field.Errors
	if c.network() == "unix" {
		why := checkSocketPath(c.Address)
		e.Check(why == "", "Address", c.Address, why)
	} else if host, _, _ := net.SplitHostPort(c.address()); host != "" {
		_, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+c.network()[len("tcp"):], host)
		e.Check(err == nil, "Address", c.Address, fmt.Sprintf("has a host without an address: %v", err))
	}
	e.Add(c.tryOptions())
	return e.Err()
}

// checkSocketPath returns why there cannot be a socket at path, or "".
func checkSocketPath(path string) (why string) {
	if path[0] == '@' {
		return ""
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); err != nil {
		return "must be in a folder that exists: " + err.Error()
	} else if !info.IsDir() {
		return "must be in a folder: " + folder + " is none"
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return "is the path of something else than a socket"
	}
	return ""
}

// keyError is an error with a text of its own about a value that cannot be used. errors.As
// finds the *field.Error.
type keyError struct {
	text string
	bad  *field.Error
	err  error
}

// Error returns the text.
func (e *keyError) Error() string { return e.text }

// Unwrap returns the system's error.
func (e *keyError) Unwrap() error { return e.err }

// As lets errors.As find the *field.Error.
func (e *keyError) As(target any) bool {
	bad, ok := target.(**field.Error)
	if ok {
		*bad = e.bad
	}
	return ok
}

// addressError is err of listen, which names the address.
func (c *Config) addressError(err error) error {
	return &keyError{"tcp.address: " + err.Error(), &field.Error{Field: "Address", Value: c.address(), Reason: "cannot be bound: " + err.Error()}, err}
}

// refuse is the error of an option that the system does not take.
func (s *optionValue) refuse(err error) error {
	return &keyError{fmt.Sprintf("%s %v: %v", s.key, s.given, err), &field.Error{Field: s.field, Value: s.given, Reason: "cannot be used: " + err.Error()}, err}
}
