package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"wireline/internal/netconn"
	"wireline/lib/field"
)

// CheckListener reports an upstream that is the listener itself, as a *field.Error: each
// client would be relayed for ever, until no descriptor is left. A tcp.Server calls it before
// it serves.
func (x *Proxy) CheckListener(a net.Addr) error {
	cfg := &x.Config
	if s := x.settings.Load(); s != nil {
		cfg = &s.cfg
	}
	return cfg.CheckListener(a.Network(), a.String())
}

// CheckListener is Proxy.CheckListener for a listener of this network (tcp, tcp4, tcp6 or
// unix) and address. It looks up no names, and reports nothing where it is not sure.
func (c *Config) CheckListener(network, address string) error {
	for _, u := range c.Upstreams {
		if Reaches(u, network, address) {
			return &field.Error{Field: "Upstreams", Value: u, Reason: "must not name this server's own address, " + address}
		}
	}
	return nil
}

// Addresses looks up the names of the upstreams, until ctx ends. It returns where connections to
// each of them go, by the elements of Upstreams: host:port with IP addresses, or the upstream
// itself if it has no name. It calls warn with a *field.Error for a name that has no address now.
func (c *Config) Addresses(ctx context.Context, warn func(error)) map[string][]string {
	all := make(map[string][]string)
	for _, text := range c.Upstreams {
		u := upstreamName(text)
		host, port, err := net.SplitHostPort(u)
		if strings.HasPrefix(u, "unix:") || err != nil || len(addrsOf(host)) > 0 {
			all[text] = []string{u}
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			warn(&field.Error{Field: "Upstreams", Value: text, Reason: "has a name without an address now: " + err.Error()})
		}
		all[text] = nil
		for _, ip := range ips {
			all[text] = append(all[text], net.JoinHostPort(ip.Unmap().String(), port))
		}
	}
	return all
}

// Reaches reports whether connections to an upstream, host:port or unix:PATH, go to a listener of
// this network (tcp, tcp4, tcp6 or unix) and address. It looks up no names.
func Reaches(upstream, network, address string) bool {
	return isItself(network, address, upstreamName(upstream), localAddrs)
}

// isItself reports whether a connection to upstream goes to a listener at own. local returns
// the addresses of this machine.
func isItself(network, own, upstream string, local func() []netip.Addr) bool {
	if path, ok := strings.CutPrefix(upstream, "unix:"); ok || network == "unix" {
		return ok && network == "unix" && netconn.SameUnixPath(path, own)
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
