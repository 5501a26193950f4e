package tcp

import (
	"cmp"
	"log/slog"
	"math"
	"time"

	"wireline/handler"
	"wireline/lib/field"
)

// WhenFull says what happens to a client that connects while MaxClients are served.
type WhenFull string

const (
	// FullWait stops accepting: clients wait in the kernel's queue (the backlog) until
	// one leaves. The empty string means the same.
	FullWait WhenFull = "wait"
	// FullRefuse accepts the client and resets it at once.
	FullRefuse WhenFull = "refuse"
)

// defaultDrainTimeout is the timeout of a graceful stop when Config.DrainTimeout is zero.
// Docker kills a container that has not stopped after 10 seconds.
const defaultDrainTimeout = 8 * time.Second

// Config says how a server listens, which clients it admits and how it stops. The zero
// value is valid: every TCP interface, port 8000, no limits. The package does not change
// it, and it must not change while a server uses it.
//
// The tags are for package config: the last part of the key, the kind if the type does not
// tell it, the default and the line in --help.
type Config struct {
	// Network is tcp, tcp4, tcp6 or unix. Empty means tcp.
	Network string `config:"network" default:"tcp" help:"tcp, tcp4, tcp6 or unix"`

	// Address is host:port, or the path of the socket file if Network is unix. Empty
	// means ":8000". Without a host, or with ::, the server listens on all IPv4 and IPv6
	// addresses of the machine, with 0.0.0.0 on those of IPv4. Port 0 means a free port;
	// the line "listening" in the log has it.
	Address string `config:"address" default:":8000" help:"host:port, or a path with tcp.network=unix; port 0 picks one"`

	// SocketMode is the permissions of a unix socket's file, as four octal digits such as
	// "0660"; whoever may write to it may connect. Empty means what the umask leaves.
	SocketMode string `config:"socket_mode" help:"permissions of the unix socket's file, such as 0660, empty = as the umask says"`

	// SocketGroup is the group of a unix socket's file: a name or a number. Empty means
	// the process's.
	SocketGroup string `config:"socket_group" help:"group of the unix socket's file, a name or a number, empty = the process's"`

	// MaxClients limits the clients at one time. Zero means no limit.
	MaxClients int `config:"max_clients" default:"0" help:"clients at one time, 0 = no limit"`

	// MaxClientsPerIP limits the clients of one address; one more is reset. Zero means
	// no limit. Clients of unix sockets have no address and are not counted.
	MaxClientsPerIP int `config:"max_clients_per_ip" default:"0" help:"clients of one address, 0 = no limit; one more is reset"`

	// MaxClientsPerPrefix limits the clients of one network, as MaxClientsPerIP those of one
	// address: a client with IPv6 has a whole /64 of addresses. Zero means no limit.
	MaxClientsPerPrefix int `config:"max_clients_per_prefix" default:"0" help:"clients of one network (tcp.prefix_v4, tcp.prefix_v6), 0 = no limit; one more is reset"`

	// PrefixV4 and PrefixV6 are how many bits of an address name its network, for
	// MaxClientsPerPrefix. Zero means 32 and 64.
	PrefixV4 int `config:"prefix_v4" default:"32" zero:"-1" help:"bits of an IPv4 address that name its network, for tcp.max_clients_per_prefix"`
	PrefixV6 int `config:"prefix_v6" default:"64" zero:"-1" help:"bits of an IPv6 address that name its network, for tcp.max_clients_per_prefix"`

	// Allow are the networks and addresses whose clients are served; others are reset.
	// Empty means all. Deny are those whose clients are reset, also if Allow has them. The
	// client's address is the one that the PROXY header of a trusted peer has named, if
	// one has. Clients of unix sockets that have no address are served.
	Allow []string `config:"allow" help:"networks whose clients are served, such as 10.0.0.0/8; others are reset; empty = all"`
	Deny  []string `config:"deny" help:"networks whose clients are reset, also if tcp.allow has them"`

	// MaxBuffered limits the bytes of memory that hold what is buffered for all clients
	// together: incomplete frames, replies that clients do not read, and what a proxy has read
	// and not written yet. Over it the connections that hold most are reset; where that does
	// not keep up, new ones too. See handler.Memory. Zero means a quarter of the memory that the process may
	// use, for all servers of the process that say so together: the least of GOMEMLIMIT, the
	// limits of its cgroup and the memory of the machine. Negative means no limit.
	MaxBuffered int `config:"max_buffered,autosize" default:"auto" help:"bytes buffered for all clients together, over it those that hold most are reset; auto = a quarter of the memory, 0 = no limit"`

	// WhenFull says what happens to a client over MaxClients. Empty means FullWait.
	WhenFull WhenFull `config:"when_full" default:"wait" help:"wait: stop accepting, the kernel queues; refuse: accept and reset"`

	// AcceptRate limits new connections per second. Further ones wait in the kernel's
	// queue. Zero means no limit.
	AcceptRate float64 `config:"accept_rate" default:"0" help:"new connections per second, 0 = no limit"`

	// TLS makes the server speak TLS, on every listener.
	TLS TLSFiles `config:"tls"`

	// HandshakeTimeout is the timeout of a TLS handshake. Zero means 10 seconds.
	HandshakeTimeout time.Duration `config:"handshake_timeout" default:"10s" help:"timeout of a TLS handshake"`

	// ProxyProtocol says whether connections begin with a PROXY header. Empty means
	// ProxyProtocolOff.
	ProxyProtocol ProxyProtocol `config:"proxy_protocol" default:"off" help:"PROXY protocol header from trusted peers: off, optional or required"`

	// ProxyProtocolTrusted are the networks and addresses whose header is believed, such
	// as 10.0.0.0/8 or ::1. Peers on unix sockets are always trusted.
	ProxyProtocolTrusted []string `config:"proxy_protocol_trusted" help:"networks whose PROXY header is believed, such as 10.0.0.0/8"`

	// ProxyHeaderTimeout is the timeout of the wait for that header. Zero means 5
	// seconds.
	ProxyHeaderTimeout time.Duration `config:"proxy_header_timeout" default:"5s" help:"timeout of the wait for a PROXY header"`

	// DrainTimeout is the timeout of a graceful stop: connections that are left then are
	// reset. Zero means 8 seconds, negative resets all at once.
	DrainTimeout time.Duration `config:"drain_timeout" default:"8s" zero:"-1" help:"timeout of a graceful stop, connections that are left then are reset; 0s resets all at once"`

	// GraceDelay is how long a Group goes on as before when it is told to stop, so that a
	// balancer can take the server out of its list first. Zero means no delay.
	GraceDelay time.Duration `config:"grace_delay" default:"0s" help:"time to go on as before after the signal, before the drain starts"`

	// Linger is how connections are closed in an ordinary way. The zero value is
	// handler.CloseDefault: the kernel sends what is left.
	Linger handler.CloseMode `config:"linger" default:"default" help:"how a connection is closed: default, a time as 5s to wait for the acknowledgement, reset, or lingering"`

	// Socket has the socket options. Its keys are those of the server: tcp.no_delay, not
	// tcp.socket.no_delay.
	Socket Socket `config:",inline"`

	// Log is the server's log. Nil means slog.Default(). The server does not wait for it: it
	// writes to it by logger.Async.
	Log *slog.Logger `config:"-"`
}

// Validate reports every field that is out of range, each as a *field.Error in
// one joined error.
func (c *Config) Validate() error {
	var e field.Errors
	c.validateAddress(&e)
	c.socketFile(&e)
	e.Check(c.MaxClients >= 0, "MaxClients", c.MaxClients, "must not be negative")
	e.Check(c.MaxClientsPerIP >= 0, "MaxClientsPerIP", c.MaxClientsPerIP, "must not be negative")
	c.validateNetworks(&e)
	e.Check(c.WhenFull == "" || c.WhenFull == FullWait || c.WhenFull == FullRefuse,
		"WhenFull", c.WhenFull, "must be wait or refuse")
	e.Check(c.AcceptRate >= 0 && !math.IsInf(c.AcceptRate, 1),
		"AcceptRate", c.AcceptRate, "must be a number that is not negative") // NaN too
	c.TLS.check(&e)
	e.Check(c.HandshakeTimeout >= 0, "HandshakeTimeout", c.HandshakeTimeout, "must not be negative")
	c.validateProxyProtocol(&e)
	e.Check(c.GraceDelay >= 0, "GraceDelay", c.GraceDelay, "must not be negative")
	_, err := c.Linger.MarshalText()
	e.Check(err == nil, "Linger", c.Linger, "must be a mode of package handler")
	c.validateSocket(&e)
	return e.Err()
}

func (c *Config) network() string {
	if c.Network == "" {
		return "tcp"
	}
	return c.Network
}

func (c *Config) address() string {
	if c.Address == "" {
		return ":8000"
	}
	return c.Address
}

func (c *Config) drainTimeout() time.Duration {
	switch {
	case c.DrainTimeout == 0:
		return defaultDrainTimeout
	case c.DrainTimeout < 0:
		return 0
	}
	return c.DrainTimeout
}

func (c *Config) handshakeTimeout() time.Duration {
	return cmp.Or(c.HandshakeTimeout, defaultHandshakeTimeout)
}
