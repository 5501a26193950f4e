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

// A connect to a unix socket whose queue is full is repeated after firstTry, then after twice
// that, up to lastTry.
const (
	firstTry = time.Millisecond
	lastTry  = 50 * time.Millisecond
)

// upstream is a server behind the proxy.
type upstream struct {
	proxy            *Proxy
	index            int // in Config.Upstreams
	name             string
	key              string // the name, made unique among upstreams of the same name
	network, address string
	literal          netip.AddrPort // of address; not valid if that is a name

	active      atomic.Int64 // clients that it has now, also those that are still connecting
	connections atomic.Uint64
	failures    atomic.Uint64

	health health
	pool   pool
}

// UpstreamStats describes an upstream.
type UpstreamStats struct {
	Address     string // as in Config.Upstreams
	Up          bool
	Active      int    // clients that it has now, also those still connecting
	Connections uint64 // clients that it has had
	Failures    uint64 // connects that have failed: for clients, the pool and checks

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

// dial connects, sends the header, makes the TLS handshake if there is to be one, all within
// limit, and notes the result. Under TLS the connection is the *tls.Conn of a transport.TLS.
func (u *upstream) dial(ctx context.Context, limit time.Duration, h header) (net.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := u.connect(bounded, limit)
	if err == nil {
		err = h.send(conn)
	}
	if err == nil && u.proxy.speaksTLS() {
		conn, err = u.handshake(bounded, conn)
	}
	switch {
	case err == nil:
		u.health.succeeded()
	case ctx.Err() == nil: // otherwise the connect was cancelled
		u.noteFailure(err)
	}
	return conn, err
}

// connect makes a connection. The dialer resolves names, and tries IPv6 and IPv4 side by side
// (RFC 8305).
func (u *upstream) connect(ctx context.Context, limit time.Duration) (net.Conn, error) {
	dialer := u.proxy.Config.dialer(limit)
	conn, err := dialer.DialContext(ctx, u.network, u.address)
	if u.isFull(err) {
		conn, err = u.awaitRoom(ctx, limit, err)
	}
	return conn, err
}

// isFull reports whether a connect failed because the queue of a unix socket is full. With
// TCP the kernel would repeat the SYN; here it reports EAGAIN at once.
func (u *upstream) isFull(err error) bool {
	return u.network == "unix" && errors.Is(err, syscall.EAGAIN)
}

// awaitRoom repeats a connect that has failed with err, as the queue was full, until the
// queue has room. After limit it returns err, as a connect over TCP would time out.
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

// isOurs reports whether a connect failed because this process or system lacks something.
func isOurs(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// isOutOfDescriptors reports whether err says that no file descriptor is left.
func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
