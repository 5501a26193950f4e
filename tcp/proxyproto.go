package tcp

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"wireline/lib/field"
)

// ProxyProtocol says whether connections begin with a header of the PROXY protocol
// (haproxy.org/download/2.9/doc/proxy-protocol.txt), in which a balancer names the
// client that it relays.
type ProxyProtocol string

const (
	// ProxyProtocolOff means that the first byte is the client's. The empty string means
	// the same.
	ProxyProtocolOff ProxyProtocol = "off"
	// ProxyProtocolOptional reads a header if a trusted peer sends one.
	ProxyProtocolOptional ProxyProtocol = "optional"
	// ProxyProtocolRequired resets every connection that does not begin with the header
	// of a trusted peer.
	ProxyProtocolRequired ProxyProtocol = "required"
)

// defaultHeaderTimeout is used when Config.ProxyHeaderTimeout is zero.
const defaultHeaderTimeout = 5 * time.Second

// leastBuffer is the smallest receive buffer for headers: the longest header must fit into
// it, because the server peeks at it, and the kernel needs some of the room.
const leastBuffer = 8 << 10

// headerPolicy is what a server does about PROXY headers.
type headerPolicy struct {
	mode    ProxyProtocol // off, optional or required
	trusted []netip.Prefix
	timeout time.Duration
}

func (c *Config) headerPolicy() headerPolicy {
	p := headerPolicy{
		mode:    cmp.Or(c.ProxyProtocol, ProxyProtocolOff),
		timeout: cmp.Or(c.ProxyHeaderTimeout, defaultHeaderTimeout),
	}
	p.trusted = parsePrefixes(c.ProxyProtocolTrusted)
	return p
}

// validateProxyProtocol adds what is wrong with the settings to e.
func (c *Config) validateProxyProtocol(e *field.Errors) {
	switch c.ProxyProtocol {
	case "", ProxyProtocolOff:
	case ProxyProtocolOptional, ProxyProtocolRequired:
		e.Check(len(c.ProxyProtocolTrusted) > 0 || c.Network == "unix", "ProxyProtocol", c.ProxyProtocol,
			"needs trusted peers: set proxy_protocol_trusted")
		e.Check(c.Socket.ReceiveBuffer <= 0 || c.Socket.ReceiveBuffer >= leastBuffer, "Socket.ReceiveBuffer", c.Socket.ReceiveBuffer,
			fmt.Sprintf("must be %d at least with the PROXY protocol", leastBuffer))
	default:
		e.Check(false, "ProxyProtocol", c.ProxyProtocol, "must be off, optional or required")
	}
	checkPrefixes(e, "ProxyProtocolTrusted", c.ProxyProtocolTrusted)
	e.Check(c.ProxyHeaderTimeout >= 0, "ProxyHeaderTimeout", c.ProxyHeaderTimeout, "must not be negative")
}

// trusts reports whether the header of a connection may be believed. A client of a unix
// socket is trusted: the permissions of the socket's folder have let it in.
func (p *headerPolicy) trusts(a *accepted) bool {
	if a.kind&overUnix != 0 {
		return true
	}
	return containedIn(p.trusted, a.clientIP())
}
