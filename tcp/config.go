package tcp

import (
	"cmp"
	"log/slog"
	"math"
	"time"

	"wireline/lib/field"
)

// WhenFull says what happens to a client that comes while MaxClients are served.
type WhenFull string

const (
	// Wait stops accepting: the kernel's queue (the backlog) holds the clients
	// until one leaves. It is what the empty string means.
	Wait WhenFull = "wait"
	// Refuse accepts the client and resets it, so that it learns at once.
	Refuse WhenFull = "refuse"
)

// defaultDrainTimeout bounds a graceful stop when Config.DrainTimeout is zero.
const defaultDrainTimeout = 10 * time.Second

// Config is how a server listens, what it admits and how it stops. The zero
// value is valid: every TCP interface, port 8000, no limits. It is read, never
// written, and must not change while a server uses it.
//
// The tags are what package config reads: the key's last part, its kind where
// the type does not say it, its default and its line in --help.
type Config struct {
	// Network is tcp, tcp4, tcp6 or unix. Empty means tcp.
	Network string `config:"network" default:"tcp" help:"tcp, tcp4, tcp6 or unix"`

	// Address is host:port, or the path of the socket file when Network is
	// unix. Empty means ":8000". Port 0 picks a free one; the line "listening"
	// names it.
	Address string `config:"address" default:":8000" help:"host:port, or a path with tcp.network=unix; port 0 picks one"`

	// MaxClients bounds the clients served at one time. Zero means no limit.
	MaxClients int `config:"max_clients" default:"0" help:"clients at one time, 0 = no limit"`

	// MaxClientsPerIP bounds the clients of one address; one more is reset.
	// Zero means no limit. Clients on unix sockets have no address and are not
	// counted.
	MaxClientsPerIP int `config:"max_clients_per_ip" default:"0" help:"clients of one address, 0 = no limit; one more is reset"`

	// WhenFull is the answer to a client over MaxClients. Empty means Wait.
	WhenFull WhenFull `config:"when_full" default:"wait" help:"wait: stop accepting, the kernel queues; refuse: accept and reset"`

	// AcceptRate bounds new connections, in connections per second. What comes
	// faster waits in the kernel's queue. Zero means no limit.
	AcceptRate float64 `config:"accept_rate" default:"0" help:"new connections per second, 0 = no limit"`

	// TLS has the server speak TLS, on every listener.
	TLS TLSConfig `config:"tls"`

	// HandshakeTimeout bounds a TLS handshake. Zero means 10 seconds.
	HandshakeTimeout time.Duration `config:"handshake_timeout" default:"10s" help:"bound of a TLS handshake"`

	// ProxyProtocol says whether connections begin with a header of the PROXY
	// protocol. Empty means ProxyOff.
	ProxyProtocol ProxyProtocol `config:"proxy_protocol" default:"off" help:"PROXY protocol header from trusted peers: off, optional or required"`

	// ProxyProtocolTrusted are the networks and addresses whose header is believed,
	// as 10.0.0.0/8 or ::1. Peers on unix sockets always are.
	ProxyProtocolTrusted []string `config:"proxy_protocol_trusted" help:"networks whose PROXY header is believed, as 10.0.0.0/8"`

	// ProxyHeaderTimeout bounds the wait for that header. Zero means 5 seconds.
	ProxyHeaderTimeout time.Duration `config:"proxy_header_timeout" default:"5s" help:"bound of the wait for a PROXY header"`

	// DrainTimeout bounds a graceful stop: what is not done by then is reset.
	// Zero means 10 seconds, negative means to cut at once.
	DrainTimeout time.Duration `config:"drain_timeout" default:"10s" help:"bound of a graceful stop, then what is left is reset; 0s cuts at once"`

	// GraceDelay is how long the server goes on as before after it was told to
	// stop, so that a balancer in front of it can take it out of its list.
	// Zero means not at all.
	GraceDelay time.Duration `config:"grace_delay" default:"0s" help:"still accepting for so long before the drain starts"`

	// Linger is how a connection is closed in an ordinary way; see
	// handler.CloseMode. "default" or empty: the kernel sends what is left.
	// Whole seconds, as "5s": the close waits at most that long until the client
	// has acknowledged all. "reset": a RST. "lingering": what the client still
	// sends is discarded for a moment, so that the last reply arrives.
	Linger string `config:"linger" default:"default" help:"how a connection is closed: default, a time as 5s to wait for the acknowledgement, reset, or lingering"`

	// Nagle leaves Nagle's algorithm on (RFC 896): small writes wait for the
	// acknowledgement of the one before. False sets TCP_NODELAY.
	Nagle bool `config:"no_delay" default:"true" help:"send small writes at once (TCP_NODELAY)"`

	// KeepAlive notices clients that have vanished while nothing is sent.
	KeepAlive KeepAlive `config:"keepalive"`

	// UserTimeout is how long what was sent may stay unacknowledged before the
	// connection is broken (RFC 5482). It also bounds the unanswered probes of
	// KeepAlive, in the place of its Count. Zero means the system's: on Linux some
	// 15 minutes, after 15 attempts.
	UserTimeout time.Duration `config:"user_timeout" default:"0s" help:"break a connection whose peer does not acknowledge for so long (TCP_USER_TIMEOUT), 0s = the system's time"`

	// Backlog is the length of the kernel's queue of connections that nobody has
	// accepted yet. Zero means the system's maximum.
	Backlog int `config:"backlog" default:"0" help:"length of the kernel's queue, 0 = the system's maximum"`

	// ReusePort lets several sockets listen on the address (SO_REUSEPORT). On
	// Linux each gets its share of the connections.
	ReusePort bool `config:"reuse_port" default:"false" help:"several processes may listen on the address (SO_REUSEPORT)"`

	// FastOpen is how many clients that have sent data with their SYN may wait
	// for their handshake (RFC 7413). Zero turns that off. Such data can come
	// twice, so the protocol must not mind.
	FastOpen int `config:"fast_open" default:"0" help:"queue for data that comes with the SYN (TCP_FASTOPEN), 0 = off"`

	// DeferAccept keeps a client that has not sent anything in the kernel's
	// queue, in whole seconds; Linux rounds up to its retransmissions: 1, 3, 7,
	// 15 and so on. It does not suit protocols where the server speaks first.
	// Zero turns that off.
	DeferAccept time.Duration `config:"defer_accept" default:"0s" help:"accept a client when it has sent something, or after so long (TCP_DEFER_ACCEPT), 0s = at once"`

	// ReceiveBuffer and SendBuffer are the kernel's buffers for each connection,
	// in bytes, in the place of those that it sizes by need. Zero means the
	// system's.
	ReceiveBuffer int `config:"receive_buffer,size" default:"0" help:"kernel's buffer for what a client sends (SO_RCVBUF), 0 = sized by the system"`
	SendBuffer    int `config:"send_buffer,size" default:"0" help:"kernel's buffer for what is sent to a client (SO_SNDBUF), 0 = sized by the system"`

	// Log gets what the server has to say. Nil means slog.Default().
	Log *slog.Logger `config:"-"`
}

// Validate reports every field that is out of range, each as a *field.Error in
// one joined error.
func (c *Config) Validate() error {
	var e field.Errors
	switch c.Network {
	case "", "tcp", "tcp4", "tcp6":
	case "unix":
		// ":8000" is the default, and what stays when only the network is set.
		e.Check(c.Address != "" && c.Address[0] != ':', "Address", c.Address, "must be a path when the network is unix")
	default:
		e.Check(false, "Network", c.Network, "must be tcp, tcp4, tcp6 or unix")
	}
	e.Check(c.MaxClients >= 0, "MaxClients", c.MaxClients, "must not be negative")
	e.Check(c.MaxClientsPerIP >= 0, "MaxClientsPerIP", c.MaxClientsPerIP, "must not be negative")
	e.Check(c.WhenFull == "" || c.WhenFull == Wait || c.WhenFull == Refuse,
		"WhenFull", c.WhenFull, "must be wait or refuse")
	e.Check(c.AcceptRate >= 0 && !math.IsInf(c.AcceptRate, 1),
		"AcceptRate", c.AcceptRate, "must be a number that is not negative") // NaN too
	c.TLS.check(&e)
	e.Check(c.HandshakeTimeout >= 0, "HandshakeTimeout", c.HandshakeTimeout, "must not be negative")
	c.validateProxyProtocol(&e)
	e.Check(c.GraceDelay >= 0, "GraceDelay", c.GraceDelay, "must not be negative")
	c.validateOptions(&e)
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

func (c *Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.Default()
	}
	return c.Log
}
