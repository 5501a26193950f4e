package proxy

import (
	"cmp"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"wireline/internal/netconn"
	"wireline/lib/field"
)

// Balance is how the upstream for a client is chosen.
type Balance string

const (
	// BalanceRoundRobin takes one after the other. It is what the empty string means.
	BalanceRoundRobin Balance = "round_robin"
	// BalanceLeastConn takes the upstream with the fewest clients.
	BalanceLeastConn Balance = "least_conn"
	// BalanceRandom draws two and takes the one with fewer clients. That is nearly as
	// even as BalanceLeastConn, and several proxies do not all choose the same one.
	BalanceRandom Balance = "random"
	// BalanceSourceHash gives a client's address the same upstream each time, while that
	// one is up. When an upstream comes or goes, only its own clients move (rendezvous
	// hashing). Several proxies with the same upstreams agree.
	BalanceSourceHash Balance = "source_hash"
)

// SendProxy says whether a header before the first byte tells the upstream the client's
// address (the PROXY protocol, haproxy.org/download/2.9/doc/proxy-protocol.txt).
type SendProxy string

const (
	// SendProxyOff sends none. It is what the empty string means.
	SendProxyOff SendProxy = "off"
	// SendProxyV1 sends the line of text.
	SendProxyV1 SendProxy = "v1"
	// SendProxyV2 sends the binary header.
	SendProxyV2 SendProxy = "v2"
)

// Config says where a proxy relays to, and how. Upstreams must be set; everything else has
// defaults. It must not change while a proxy uses it.
type Config struct {
	// Upstreams are the servers behind the proxy, each host:port or unix:PATH. A name is
	// resolved anew for each connection. " weight=N" may follow, from 0 to 256; without it,
	// the weight is 1. An upstream gets clients in proportion to its weight, with every
	// Balance; with 0 it gets none. One that is named twice counts as two.
	Upstreams []string `config:"upstreams" help:"servers behind the proxy, host:port or unix:PATH each; ' weight=N' may follow, 0 to 256"`

	// Balance picks among the upstreams that are up. Empty means BalanceRoundRobin.
	Balance Balance `config:"balance" default:"round_robin" help:"round_robin, least_conn, random or source_hash"`

	// ConnectTimeout bounds the connect to one upstream; then the next is tried. That a
	// client has left is noticed after the connect. Zero means 5 seconds.
	ConnectTimeout time.Duration `config:"connect_timeout" default:"5s" help:"bound of the connect to one upstream; then the next is tried"`

	// IdleTimeout closes a pair on which no byte has moved in either direction for that
	// time. It is exact to a tenth, or 50 ms. Zero means an hour. Negative means never.
	IdleTimeout time.Duration `config:"idle_timeout" default:"1h" zero:"-1" help:"close a pair on which no byte has moved for that time, 0s = never"`

	// HalfCloseIdle is the IdleTimeout of a pair of which one side has closed its direction, if
	// it is shorter: most of those that stay silent then have no reply to come. Zero means 5
	// minutes. Negative means that IdleTimeout holds.
	HalfCloseIdle time.Duration `config:"half_close_idle" default:"5m" zero:"-1" help:"close a pair whose one direction has ended when no byte has moved for that time, 0s = as proxy.idle_timeout"`

	// HalfCloseTimeout resets a pair when one side has closed its direction and the
	// other has not done so within that time. Zero means never.
	HalfCloseTimeout time.Duration `config:"half_close_timeout" default:"0s" help:"reset a pair whose one direction has ended for that time and the other has not, 0s = never"`

	// DrainQuiet is the time without a byte in either direction after which a drain
	// closes a pair. Choose it longer than upstreams pause in the middle of a reply: what
	// comes later is lost. Choose it shorter than the timeout of the drain
	// (tcp.Config.DrainTimeout), which resets the pairs that are left. Zero means
	// 100 milliseconds.
	DrainQuiet time.Duration `config:"drain_quiet" default:"100ms" help:"in a drain, close a pair on which no byte has moved for that time; less than tcp.drain_timeout"`

	// DrainReply is how long a drain waits for the upstream's reply, if the last byte of
	// a pair came from the client. The time begins with the drain, or with the request if
	// that comes later; a reply that begins after it is lost. It also holds up the end of
	// pairs whose client sends and gets no reply. Zero means 3 seconds, negative means
	// that only DrainQuiet counts.
	DrainReply time.Duration `config:"drain_reply" default:"3s" zero:"-1" help:"in a drain, wait for that time for the reply if the last byte came from the client, 0s = only drain_quiet counts; less than tcp.drain_timeout"`

	// Pool keeps connections ready.
	Pool PoolConfig `config:"pool"`

	// Health says when an upstream counts as down.
	Health HealthConfig `config:"health"`

	// TLS makes the proxy speak TLS to its upstreams.
	TLS TLS `config:"tls"`

	// KeepAlive notices upstreams that have vanished.
	KeepAlive KeepAlive `config:"keepalive"`

	// UserTimeout breaks a connection whose upstream has not acknowledged what was sent
	// for that long (RFC 5482), on Linux. Zero means the system's time.
	UserTimeout time.Duration `config:"user_timeout" default:"0s" inherit:"tcp.user_timeout" help:"break a connection whose upstream acknowledges nothing for this time (TCP_USER_TIMEOUT), 0s = the system's time; if not set, as tcp.user_timeout"`

	// SendProxy tells the upstream the client's address. Empty means SendProxyOff.
	SendProxy SendProxy `config:"send_proxy" default:"off" help:"PROXY protocol to the upstream: off, v1 or v2"`
}

// PoolConfig says how many connections to each upstream are kept ready for clients. The
// zero value is no pool.
type PoolConfig struct {
	// Size is how many connections to each upstream are made in advance, so that a client
	// does not wait for the handshake. Zero means none.
	Size int `config:"size" default:"0" help:"connections to each upstream that are made in advance"`

	// MaxIdle is how long a connection waits at most. Choose it shorter than the
	// upstream's own idle timeout. Zero means 60 seconds.
	MaxIdle time.Duration `config:"max_idle" default:"60s" help:"replace a connection that has waited for that time"`

	// Reuse gives a connection back to the pool when its client has sent a FIN, if the
	// last bytes were the upstream's and it has been silent for ReuseQuiet since. It is
	// for protocols of requests and replies that leave nothing behind on a connection:
	// memcached, or HTTP without authentication by connection. What the upstream sends
	// after that silence is lost to the client, who sees the end of the stream before
	// it, and may reach the next client. So Reuse is not for upstreams that may pause
	// for longer in the middle of a reply. It is not for clients that send requests
	// without waiting for the replies (pipelining) and then a FIN, unless every reply
	// begins within ReuseQuiet.
	Reuse bool `config:"reuse" default:"false" help:"give connections back after use; only for stateless request-reply protocols without pipelining"`

	// ReuseQuiet is how long an upstream must have been silent after its client's FIN,
	// with Reuse. Choose it longer than the upstream may pause. Zero means 20
	// milliseconds.
	ReuseQuiet time.Duration `config:"reuse_quiet" default:"20ms" help:"with reuse, give a connection back when the upstream has been silent for that time"`
}

// HealthConfig says when an upstream counts as down. With the zero value only failed
// connects for clients count.
type HealthConfig struct {
	// Interval is the time between two checks: connects that only find out whether the
	// upstream is up. Zero means no checks.
	Interval time.Duration `config:"interval" default:"0s" help:"time between two checks of an upstream (connects), 0s = only connects for clients count"`

	// Timeout bounds the connect of a check. Zero means 2 seconds.
	Timeout time.Duration `config:"timeout" default:"2s" help:"bound of the connect of a check"`

	// Rise is how many checks must succeed in a row for the upstream to be up again.
	// Zero means 2.
	Rise int `config:"rise" default:"2" help:"checks that succeed in a row until an upstream is up again"`

	// Fall is how many connects of any kind must fail in a row for the upstream to be
	// down. Zero means 3.
	Fall int `config:"fall" default:"3" help:"connects that fail in a row until an upstream is down"`

	// Retry is the time after which one client tries an upstream that is down, where
	// there are no checks. Zero means 10 seconds.
	Retry time.Duration `config:"retry" default:"10s" help:"time after which a client tries an upstream that is down, where interval is 0s"`
}

// Validate reports every field that is out of range, each as a *field.Error in one
// joined error.
func (c *Config) Validate() error {
	var e field.Errors
	for _, u := range c.Upstreams {
		_, why := parseUpstream(u)
		e.Check(why == "", "Upstreams", u, why)
	}
	switch c.Balance {
	case "", BalanceRoundRobin, BalanceLeastConn, BalanceRandom, BalanceSourceHash:
	default:
		e.Check(false, "Balance", c.Balance, "must be round_robin, least_conn, random or source_hash")
	}
	switch c.SendProxy {
	case "", SendProxyOff, SendProxyV1, SendProxyV2:
	default:
		e.Check(false, "SendProxy", c.SendProxy, "must be off, v1 or v2")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"ConnectTimeout", c.ConnectTimeout},
		{"HalfCloseTimeout", c.HalfCloseTimeout},
		{"DrainQuiet", c.DrainQuiet},
		{"Pool.MaxIdle", c.Pool.MaxIdle},
		{"Pool.ReuseQuiet", c.Pool.ReuseQuiet},
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
	c.checkVanished(&e)
	c.checkTLS(&e)
	return e.Err()
}

// target is what an element of Config.Upstreams says.
type target struct {
	name             string // without the weight
	network, address string
	weight           int
}

// maxWeight is the largest weight of an upstream.
const maxWeight = 256

// parseUpstream reads an element of Config.Upstreams, or says what is wrong with it.
func parseUpstream(text string) (t target, why string) {
	name, weight, found := strings.Cut(text, " weight=")
	t = target{name: name, weight: 1}
	if found {
		var err error
		if t.weight, err = strconv.Atoi(weight); err != nil || t.weight < 0 || t.weight > maxWeight {
			return t, "must have a weight from 0 to 256"
		}
	}
	if path, ok := strings.CutPrefix(name, "unix:"); ok {
		t.network, t.address = "unix", path
		if path == "" {
			return t, "needs a path after unix:"
		}
		return t, netconn.CheckUnixPath(path)
	}
	t.network, t.address = "tcp", name
	host, port, err := net.SplitHostPort(name)
	if err != nil || host == "" {
		return t, "must be host:port or unix:PATH"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return t, "must have a port from 1 to 65535"
	}
	return t, ""
}

// upstreamName returns an element of Config.Upstreams without its weight.
func upstreamName(text string) string {
	t, _ := parseUpstream(text)
	return t.name
}

func (c *Config) connectTimeout() time.Duration { return cmp.Or(c.ConnectTimeout, 5*time.Second) }
func (c *Config) idleTimeout() time.Duration    { return max(cmp.Or(c.IdleTimeout, time.Hour), 0) }
func (c *Config) halfCloseIdle() time.Duration  { return max(cmp.Or(c.HalfCloseIdle, 5*time.Minute), 0) }
func (c *Config) drainQuiet() time.Duration     { return cmp.Or(c.DrainQuiet, 100*time.Millisecond) }

// drainReply is below zero if a drain does not wait for replies.
func (c *Config) drainReply() time.Duration { return cmp.Or(c.DrainReply, 3*time.Second) }

func (c *Config) sendsProxy() bool { return c.SendProxy.orOff() != SendProxyOff }

func (s SendProxy) orOff() SendProxy { return cmp.Or(s, SendProxyOff) }

func (c *PoolConfig) maxIdle() time.Duration    { return cmp.Or(c.MaxIdle, time.Minute) }
func (c *PoolConfig) reuseQuiet() time.Duration { return cmp.Or(c.ReuseQuiet, 20*time.Millisecond) }

func (c *HealthConfig) timeout() time.Duration { return cmp.Or(c.Timeout, 2*time.Second) }
func (c *HealthConfig) rise() int              { return cmp.Or(c.Rise, 2) }
func (c *HealthConfig) fall() int              { return cmp.Or(c.Fall, 3) }
func (c *HealthConfig) retry() time.Duration   { return cmp.Or(c.Retry, 10*time.Second) }
