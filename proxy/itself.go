package proxy

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"wireline/lib/field"
)

// CheckListener reports an upstream that is the listener itself, as a *field.Error: each
// client would be relayed for ever, until no descriptor is left. A tcp.Server calls it before
// it serves.
func (x *Proxy) CheckListener(a net.Addr) error {
	return x.Config.CheckListener(a.Network(), a.String())
}

// CheckListener is Proxy.CheckListener for a listener of this network (tcp, tcp4, tcp6 or
// unix) and address. It looks up no names, and reports nothing where it is not sure.
func (c *Config) CheckListener(network, address string) error {
	for _, u := range c.Upstreams {
		if isItself(network, address, u, localAddrs) {
			return &field.Error{Field: "Upstreams", Value: u, Reason: "must not name this server's own address, " + address}
		}
	}
	return nil
}

// Resolve looks up the names of the upstreams, until ctx ends, and calls warn for those that
// have no address now. It reports an upstream whose name is that of the listener itself, as
// CheckListener does. The errors are *field.Error.
func (c *Config) Resolve(ctx context.Context, network, address string, warn func(error)) error {
	var itself field.Errors
	for _, u := range c.Upstreams {
		host, port, err := net.SplitHostPort(u)
		if strings.HasPrefix(u, "unix:") || err != nil || len(addrsOf(host)) > 0 {
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			warn(&field.Error{Field: "Upstreams", Value: u, Reason: "has a name without an address now: " + err.Error()})
		}
		for _, ip := range ips {
			named := Config{Upstreams: []string{net.JoinHostPort(ip.Unmap().String(), port)}}
			if named.CheckListener(network, address) != nil {
				itself.Check(false, "Upstreams", u, "must not name this server's own address, "+address)
				break
			}
		}
	}
	return itself.Err()
}

// isItself reports whether a connection to upstream goes to a listener at own. local returns
// the addresses of this machine.
func isItself(network, own, upstream string, local func() []netip.Addr) bool {
	if path, ok := strings.CutPrefix(upstream, "unix:"); ok || network == "unix" {
		return ok && network == "unix" && absolute(path) == absolute(own)
	}
	host, port, err := net.SplitHostPort(own)
	upHost, upPort, upErr := net.SplitHostPort(upstream)
	if err != nil || upErr != nil || port != upPort {
		return false
	}
	if host == upHost && host != "" {
		return true
	}
	for _, to := range addrsOf(upHost) {
		if listensOn(network, host, to, local) {
			return true
		}
	}
	return false
}

// listensOn reports whether a listener at host takes connections to the address to.
func listensOn(network, host string, to netip.Addr, local func() []netip.Addr) bool {
	if network == "tcp4" && !to.Is4() || network == "tcp6" && to.Is4() {
		return false
	}
	ip, _ := netip.ParseAddr(host)
	switch {
	case host == "" || ip == netip.IPv6Unspecified() || ip == netip.IPv4Unspecified() && to.Is4():
		return to.IsLoopback() || slices.Contains(local(), to)
	case ip.IsUnspecified():
		return false
	}
	return slices.Contains(addrsOf(host), to)
}

// addrsOf returns the addresses of a host without asking anybody: none for a name, except for
// localhost. A connection to no address goes to this machine.
func addrsOf(host string) []netip.Addr {
	ip, err := netip.ParseAddr(host)
	ip = ip.Unmap()
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	switch {
	case host == "localhost" || host == "":
		return []netip.Addr{v4, v6}
	case err != nil:
		return nil
	case ip == netip.IPv4Unspecified():
		return []netip.Addr{v4}
	case ip == netip.IPv6Unspecified():
		return []netip.Addr{v6}
	}
	return []netip.Addr{ip}
}

// localAddrs are the addresses of this machine's interfaces.
func localAddrs() (list []netip.Addr) {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, prefix.Addr().Unmap())
		}
	}
	return list
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}
