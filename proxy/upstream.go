package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// A unix socket whose queue is full is tried again after firstTry, doubling to lastTry.
const (
	firstTry = time.Millisecond
	lastTry  = 50 * time.Millisecond
)

// upstream is a server behind the proxy.
type upstream struct {
	proxy            *Proxy
	index            int // in Config.Upstreams
	name             string
	key              string // the name, and which of several with it this is
	network, address string
	literal          netip.AddrPort // of address; not valid if that has a name

	active      atomic.Int64 // clients it has, also those that are still connecting
	connections atomic.Uint64
	failures    atomic.Uint64

	health health
	pool   pool
}

// UpstreamStats tells how an upstream is doing.
type UpstreamStats struct {
	Address     string // as in Config.Upstreams
	Up          bool
	Active      int    // clients that it has now, also those still connecting
	Connections uint64 // clients that it has had
	Failures    uint64 // connects that failed, of clients, of the pool and of checks

	Pool PoolStats
}

func newUpstream(x *Proxy, index int, name string) *upstream {
	u := &upstream{proxy: x, index: index, name: name}
	u.network, u.address, _ = parseUpstream(name)
	u.key = name
	for _, other := range x.upstreams {
		if other.name == name {
			u.key += "'"
		}
	}
	if a, err := netip.ParseAddrPort(u.address); err == nil && u.network == "tcp" && a.Addr().Zone() == "" {
		u.literal = a
	}
	u.health.upstream = u
	u.pool.init(u)
	return u
}

func (u *upstream) stats() UpstreamStats {
	return UpstreamStats{
		Address:     u.name,
		Up:          u.health.isUp(),
		Active:      int(u.active.Load()),
		Connections: u.connections.Load(),
		Failures:    u.failures.Load(),
		Pool:        u.pool.stats(),
	}
}

// dial connects, and notes how that went. The dialer resolves names, and tries IPv6
// and IPv4 side by side (RFC 8305).
func (u *upstream) dial(ctx context.Context, limit time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: limit}
	conn, err := dialer.DialContext(ctx, u.network, u.address)
	if u.isFull(err) {
		conn, err = u.awaitRoom(ctx, limit, err)
	}
	switch {
	case err == nil:
		u.health.succeeded()
	case ctx.Err() == nil: // or else it was given up
		u.noteFailure(err)
	}
	return conn, err
}

// isFull reports whether a connect failed because the queue of a unix socket has no
// room. Where TCP would send its SYN again, the kernel says so at once to a socket that
// does not block.
func (u *upstream) isFull(err error) bool {
	return u.network == "unix" && errors.Is(err, syscall.EAGAIN)
}

// awaitRoom connects when the queue, which is full as err says, has room. If it has none
// for as long as limit, that is a failure, as it is with TCP.
func (u *upstream) awaitRoom(ctx context.Context, limit time.Duration, err error) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var dialer net.Dialer
	for pause := firstTry; await(ctx, pause); pause = min(2*pause, lastTry) {
		conn, err := dialer.DialContext(ctx, u.network, u.address)
		if !u.isFull(err) {
			return conn, err
		}
	}
	return nil, err
}

func (u *upstream) noteFailure(err error) {
	u.failures.Add(1)
	if !isOurs(err) {
		u.health.failed(time.Now(), err)
	}
}

// isOurs reports whether a connect failed for want of something on this side.
func isOurs(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// isOutOfDescriptors reports whether err is for want of descriptors.
func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
