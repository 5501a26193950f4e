package tcp

import (
	"cmp"
	"fmt"
	"net/netip"

	"wireline/lib/field"
)

// The networks of MaxClientsPerPrefix when PrefixV4 and PrefixV6 are zero: an address, and what
// a provider gives to one customer at least (RFC 6177).
const (
	defaultPrefixV4 = 32
	defaultPrefixV6 = 64
)

// networks says what network a client's address is in, and which networks are served.
type networks struct {
	bitsV4, bitsV6 int
	allow, deny    []netip.Prefix
}

func (c *Config) networks() networks {
	return networks{
		bitsV4: cmp.Or(c.PrefixV4, defaultPrefixV4),
		bitsV6: cmp.Or(c.PrefixV6, defaultPrefixV6),
		allow:  parsePrefixes(c.Allow),
		deny:   parsePrefixes(c.Deny),
	}
}

// of returns the network of an address.
func (n *networks) of(ip netip.Addr) netip.Prefix {
	bits := n.bitsV6
	if ip.Is4() {
		bits = n.bitsV4
	}
	network, _ := ip.Prefix(bits) // Validate has checked the bits
	return network
}

// allows reports whether clients of an address are served.
func (n *networks) allows(ip netip.Addr) bool {
	return !containedIn(n.deny, ip) && (len(n.allow) == 0 || containedIn(n.allow, ip))
}

// validateNetworks adds what is wrong with the settings to e.
func (c *Config) validateNetworks(e *field.Errors) {
	e.Check(c.MaxClientsPerPrefix >= 0, "MaxClientsPerPrefix", c.MaxClientsPerPrefix, "must not be negative")
	checkBits := func(name string, bits, most int) {
		e.Check(bits >= 0 && bits <= most, name, bits, fmt.Sprintf("must be from 1 to %d", most))
	}
	checkBits("PrefixV4", c.PrefixV4, 32)
	checkBits("PrefixV6", c.PrefixV6, 128)
	for _, list := range []struct {
		name     string
		networks []string
	}{{"Allow", c.Allow}, {"Deny", c.Deny}} {
		checkPrefixes(e, list.name, list.networks)
		noAddress := c.Network == "unix" && cmp.Or(c.ProxyProtocol, ProxyProtocolOff) == ProxyProtocolOff
		e.Check(len(list.networks) == 0 || !noAddress, list.name, list.networks, "has no effect on unix sockets without the PROXY protocol")
	}
}

// checkPrefixes adds to e those of a field's values that are no networks.
func checkPrefixes(e *field.Errors, name string, texts []string) {
	for _, text := range texts {
		_, err := parsePrefix(text)
		e.Check(err == nil, name, text, "must be a network such as 10.0.0.0/8, or an address")
	}
}

// parsePrefixes parses the texts that are networks.
func parsePrefixes(texts []string) (list []netip.Prefix) {
	for _, text := range texts {
		if prefix, err := parsePrefix(text); err == nil {
			list = append(list, prefix)
		}
	}
	return list
}

// parsePrefix reads a network, such as 10.0.0.0/8, or a single address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if addr := p.Addr(); err == nil && addr.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96) // as the addresses of peers
	}
	return p.Masked(), err
}

// containedIn reports whether one of the networks has the address.
func containedIn(list []netip.Prefix, ip netip.Addr) bool {
	for _, prefix := range list {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}
