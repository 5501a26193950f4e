package proxy

import (
	"cmp"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"wireline/lib/field"
)

// Balance says which upstream gets the next client.
type Balance string

const (
	// RoundRobin takes one after the other. It is what the empty string means.
	RoundRobin Balance = "round_robin"
	// LeastConn takes the one with the fewest clients.
	LeastConn Balance = "least_conn"
	// Random draws two and takes the one with fewer clients: nearly as even as
	// LeastConn, without all proxies running after the same one.
	Random Balance = "random"
	// SourceHash gives a client's address the same upstream each time, for as long
	// as that one is up; when one comes or goes only its own clients move
	// (rendezvous hashing). Several proxies with the same upstreams agree.
	SourceHash Balance = "source_hash"
)

// SendProxy says whether the upstream is told who the client is, by a header before
// the first byte (the PROXY protocol, haproxy.org/download/2.9/doc/proxy-protocol.txt).
type SendProxy string

const (
	// SendOff sends none. It is what the empty string means.
	SendOff SendProxy = "off"
	// SendV1 sends the line of text.
	SendV1 SendProxy = "v1"
	// SendV2 sends the binary header.
	SendV2 SendProxy = "v2"
)

// Config is where a proxy relays to, and how. The zero value is valid but for
// Upstreams, which a proxy needs. It must not change while a proxy uses it.
type Config struct {
	// Upstreams are the servers behind the proxy, each host:port or unix:PATH. A
	// name is resolved for each connection anew. Order and repetition count: one
	// that is named twice gets twice as many clients.
	Upstreams []string `config:"upstreams" help:"servers behind the proxy, host:port or unix:PATH each"`

	// Balance picks among those that are up. Empty means RoundRobin.
	Balance Balance `config:"balance" default:"round_robin" help:"round_robin, least_conn, random or source_hash"`

	// ConnectTimeout bounds the connect to one upstream; then the next is tried. A
	// client that leaves meanwhile is noticed afterwards. Zero means 5 seconds.
	ConnectTimeout time.Duration `config:"connect_timeout" default:"5s" help:"bound of the connect to one upstream, then the next is tried"`

	// IdleTimeout closes a pair after so long without a byte either way, both ways
	// together. It is kept to a tenth, or 50 ms. Zero means never.
	IdleTimeout time.Duration `config:"idle_timeout" default:"1h" help:"close after so long without a byte either way, 0s = never"`

	// HalfCloseTimeout resets a pair so long after one side has closed its
	// direction and the other has not. Zero means never.
	HalfCloseTimeout time.Duration `config:"half_close_timeout" default:"0s" help:"reset so long after one direction has ended and the other has not, 0s = never"`

	// DrainQuiet is after how long without a byte either way a pair counts as idle in
	// a drain, and is closed. A request whose reply takes longer to begin is cut off
	// then: choose it longer than that. But choose it shorter than the bound of the
	// drain (tcp.Config.DrainTimeout), at which pairs that have not been quiet for
	// so long are reset. Zero means 100 milliseconds.
	DrainQuiet time.Duration `config:"drain_quiet" default:"100ms" help:"in a drain, a pair without a byte for so long is closed; less than tcp.drain_timeout"`

	// Pool has connections ready.
	Pool PoolConfig `config:"pool"`

	// Health says when an upstream counts as down.
	Health HealthConfig `config:"health"`

	// SendProxy tells the upstream the client's address. Empty means SendOff.
	SendProxy SendProxy `config:"send_proxy" default:"off" help:"PROXY protocol to the upstream: off, v1 or v2"`
}

// PoolConfig is how many connections to each upstream wait for clients. The zero
// value is no pool.
type PoolConfig struct {
	// Size is how many connections to each upstream are made ahead, so that a
	// client does not wait for the handshake. Zero means none.
	Size int `config:"size" default:"0" help:"connections to each upstream that are made ahead"`

	// MaxIdle is how long one of them waits at most: choose it shorter than the
	// upstream's own idle time-out. Zero means 60 seconds.
	MaxIdle time.Duration `config:"max_idle" default:"60s" help:"a connection that waits for so long is replaced"`

	// Reuse gives a connection back to the pool when its client has left, if the last
	// word was the upstream's and it has been silent for Rest since. It is for
	// protocols of requests and replies that leave nothing behind on a connection:
	// memcached, or HTTP without authentication by connection. What the upstream
	// says after a silence of Rest is lost to the client, who sees the end of the
	// stream before it, and may reach the next one. So it is not for upstreams
	// that may pause for longer in the middle of a reply; and not for clients
	// that send a request before they have the reply to the one before
	// (pipelining) and then their FIN, unless every reply begins within Rest.
	Reuse bool `config:"reuse" default:"false" help:"give connections back after use; for stateless request-reply protocols without pipelining only"`

	// Rest is how long an upstream must have been silent after its client has left,
	// with Reuse: choose it longer than the upstream may pause. Zero means 20
	// milliseconds.
	Rest time.Duration `config:"rest" default:"20ms" help:"with reuse, a connection goes back after so long without a byte from the upstream"`
}

// HealthConfig says when an upstream counts as down. The zero value counts failed
// connects of clients only.
type HealthConfig struct {
	// Interval is the time between two connects that only look whether the
	// upstream is there. Zero means that there are none.
	Interval time.Duration `config:"interval" default:"0s" help:"time between two connects to look at an upstream, 0s = only those of clients count"`

	// Timeout bounds such a connect. Zero means 2 seconds.
	Timeout time.Duration `config:"timeout" default:"2s" help:"bound of such a connect"`

	// Rise is how many of them must succeed in a row for the upstream to be up
	// again. Zero means 2.
	Rise int `config:"rise" default:"2" help:"successes in a row to be up again"`

	// Fall is how many connects, of whatever kind, must fail in a row for the
	// upstream to be down. Zero means 3.
	Fall int `config:"fall" default:"3" help:"failures in a row to be down"`

	// Retry is after how long a client is sent to an upstream that is down, to
	// see, where Interval is zero. Zero means 10 seconds.
	Retry time.Duration `config:"retry" default:"10s" help:"after so long a client tries one that is down, where interval is 0s"`
}

// Validate reports every field that is out of range, each as a *field.Error in one
// joined error.
func (c *Config) Validate() error {
	var e field.Errors
	for _, u := range c.Upstreams {
		_, _, why := parseUpstream(u)
		e.Check(why == "", "Upstreams", u, why)
	}
	switch c.Balance {
	case "", RoundRobin, LeastConn, Random, SourceHash:
	default:
		e.Check(false, "Balance", c.Balance, "must be round_robin, least_conn, random or source_hash")
	}
	switch c.SendProxy {
	case "", SendOff, SendV1, SendV2:
	default:
		e.Check(false, "SendProxy", c.SendProxy, "must be off, v1 or v2")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"ConnectTimeout", c.ConnectTimeout},
		{"IdleTimeout", c.IdleTimeout},
		{"HalfCloseTimeout", c.HalfCloseTimeout},
		{"DrainQuiet", c.DrainQuiet},
		{"Pool.MaxIdle", c.Pool.MaxIdle},
		{"Pool.Rest", c.Pool.Rest},
		{"Health.Interval", c.Health.Interval},
		{"Health.Timeout", c.Health.Timeout},
		{"Health.Retry", c.Health.Retry},
	} {
		e.Check(d.value >= 0, d.name, d.value, "must not be negative")
	}
	e.Check(c.Pool.Size >= 0, "Pool.Size", c.Pool.Size, "must not be negative")
	e.Check(c.Health.Rise >= 0, "Health.Rise", c.Health.Rise, "must not be negative")
	e.Check(c.Health.Fall >= 0, "Health.Fall", c.Health.Fall, "must not be negative")
	if c.Pool.Reuse {
		e.Check(c.Pool.Size > 0, "Pool.Reuse", true, "needs a pool: set its size")
		e.Check(!c.sendsProxy(), "Pool.Reuse", true, "cannot go with send_proxy, whose header names one client for the whole connection")
		e.Check(runtime.GOOS != "windows", "Pool.Reuse", true, "does not work on Windows: a connection cannot be looked at without reading from it")
	}
	return e.Err()
}

// parseUpstream takes an upstream's address apart, or says what is wrong with it.
func parseUpstream(text string) (network, address, why string) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" {
			return "", "", "needs a path after unix:"
		}
		return "unix", path, ""
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return "", "", "must be host:port or unix:PATH"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", "must have a port from 1 to 65535"
	}
	return "tcp", text, ""
}

func (c *Config) connectTimeout() time.Duration { return cmp.Or(c.ConnectTimeout, 5*time.Second) }
func (c *Config) drainQuiet() time.Duration     { return cmp.Or(c.DrainQuiet, 100*time.Millisecond) }

func (c *Config) sendsProxy() bool { return c.SendProxy != "" && c.SendProxy != SendOff }

func (c *PoolConfig) maxIdle() time.Duration { return cmp.Or(c.MaxIdle, time.Minute) }
func (c *PoolConfig) rest() time.Duration    { return cmp.Or(c.Rest, 20*time.Millisecond) }

func (c *HealthConfig) timeout() time.Duration { return cmp.Or(c.Timeout, 2*time.Second) }
func (c *HealthConfig) rise() int              { return cmp.Or(c.Rise, 2) }
func (c *HealthConfig) fall() int              { return cmp.Or(c.Fall, 3) }
func (c *HealthConfig) retry() time.Duration   { return cmp.Or(c.Retry, 10*time.Second) }
