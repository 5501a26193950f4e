package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"wireline/internal/timeout"
	"wireline/lib/histogram"
)

// A connect to a unix socket whose queue is full is repeated after firstTry, then after twice
// that, up to lastTry.
const (
	firstTry = time.Millisecond
	lastTry  = 50 * time.Millisecond
)

// errConnectTimeout is why a connect has failed that has taken too long.
var errConnectTimeout = fmt.Errorf("connect timeout: %w", context.DeadlineExceeded)

// upstream is a server behind the proxy.
type upstream struct {
	proxy            *Proxy
	index            atomic.Int64 // in Config.Upstreams
	name             string
	key              string // the name, made unique among upstreams of the same name
	network, address string
	literal          netip.AddrPort // of address; not valid if that is a name

	state  atomic.Pointer[UpstreamState] // never nil
	weight atomic.Int64
	credit int64 // of the round robin, under Proxy.turns

	configured int // the weight in the configuration; under Proxy.changes

	active      atomic.Int64 // clients that it has now, also those that are still connecting
	connections atomic.Uint64
	failures    atomic.Uint64
	times       *histogram.Histogram // of connects that have succeeded

	health health
	pool   pool

	filling, checking job // of the pool, and for the health
}

// UpstreamStats describes an upstream.
type UpstreamStats struct {
	Name        string // its address, made unique if it is there several times
	Address     string // as in Config.Upstreams, without the weight
	State       UpstreamState
	Weight      int
	Up          bool   // by the connects to it
	Active      int    // clients that it has now, also those still connecting
	Connections uint64 // clients that it has had
	Connects    uint64 // connects that have succeeded: for clients, the pool and checks
	Failures    uint64 // connects that have failed: for clients, the pool and checks

	// ConnectTimes are those of the connects that have succeeded, with the TLS handshake.
	ConnectTimes histogram.Snapshot

	// Since is when the upstream went down or came up; zero if it was up all the time. Err is
	// the failure that took it down, nil if it is up.
	Since time.Time
	Err   error

	Pool PoolStats
}

func newUpstream(x *Proxy, index int, key string, t target) *upstream {
	u := &upstream{proxy: x, name: t.name, key: key, network: t.network, address: t.address, times: histogram.New(histogram.Latencies)}
	u.index.Store(int64(index))
	u.setState(UpstreamUp)
	u.configured = t.weight
	u.weight.Store(int64(t.weight))
	if a, err := netip.ParseAddrPort(u.address); err == nil && u.network == "tcp" && a.Addr().Zone() == "" {
		u.literal = a
	}
	u.health.upstream = u
	u.pool.init(u)
	return u
}

func (u *upstream) stats() UpstreamStats {
	up, since, err := u.health.state()
	times := u.times.Snapshot()
	return UpstreamStats{
		Name:         u.key,
		Address:      u.name,
		State:        *u.state.Load(),
		Weight:       int(u.weight.Load()),
		Up:           up,
		Since:        since,
		Err:          err,
		Connects:     times.Count,
		ConnectTimes: times,
		Active:       int(u.active.Load()),
		Connections:  u.connections.Load(),
		Failures:     u.failures.Load(),
		Pool:         u.pool.stats(),
	}
}

// dial connects, sends the header, makes the TLS handshake if there is to be one, all within
// limit, and notes the result. Under TLS the connection is the *tls.Conn of a transport.TLS.
func (u *upstream) dial(ctx context.Context, s *settings, limit time.Duration, h header) (net.Conn, error) {
	began := time.Now()
	bound := timeout.New(ctx, limit, errConnectTimeout)
	defer bound.Stop()
	conn, err := u.connect(bound, s, limit)
	if isTimeout(err) && bound.Again() { // the upstream may have answered while the process was stopped
		conn, err = u.connect(bound, s, limit)
	}
	if err == nil {
		err = h.send(conn)
	}
	if err == nil && s.speaksTLS() {
		conn, err = u.handshake(bound, s, conn)
	}
	switch {
	case err == nil:
		u.noteSuccess(s, time.Since(began))
	case ctx.Err() == nil: // otherwise the connect was cancelled
		u.noteFailure(s, err)
	}
	return conn, err
}

// connect makes a connection. The dialer resolves names, and tries IPv6 and IPv4 side by side
// (RFC 8305).
func (u *upstream) connect(ctx context.Context, s *settings, limit time.Duration) (net.Conn, error) {
	dialer := s.cfg.dialer(limit)
	conn, err := dialer.DialContext(ctx, u.network, u.address)
	if u.isFull(err) {
		conn, err = u.awaitRoom(ctx, err)
	}
	return conn, err
}

// isFull reports whether a connect failed because the queue of a unix socket is full. With
// TCP the kernel would repeat the SYN; here it reports EAGAIN at once.
func (u *upstream) isFull(err error) bool {
	return u.network == "unix" && errors.Is(err, syscall.EAGAIN)
}

// awaitRoom repeats a connect that has failed with err, as the queue was full, until the
// queue has room. At the end of ctx it returns err, as a connect over TCP would time out.
func (u *upstream) awaitRoom(ctx context.Context, err error) (net.Conn, error) {
	var dialer net.Dialer
	for pause := firstTry; await(ctx, pause); pause = min(2*pause, lastTry) {
		conn, err := dialer.DialContext(ctx, u.network, u.address)
		if !u.isFull(err) {
			return conn, err
		}
	}
	return nil, err
}

// giveUp notes that a client has ended whose connect was under way, which says nothing of the
// upstream.
func (u *upstream) giveUp() {
	u.active.Add(-1)
	u.health.release()
}

// isTimeout reports whether a connect failed because it took too long.
func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// noteSuccess notes a connect with these settings that took so long. It says nothing of connects of
// another generation.
func (u *upstream) noteSuccess(s *settings, took time.Duration) {
	u.times.Observe(took)
	if s.generation == u.proxy.settings.Load().generation {
		u.health.succeeded()
	}
}

// noteFailure notes a connect with these settings that has failed. It says nothing of connects of
// another generation.
func (u *upstream) noteFailure(s *settings, err error) {
	if errors.Is(err, errRemoved) {
		return
	}
	u.failures.Add(1)
	if !isOurs(err) && s.generation == u.proxy.settings.Load().generation {
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
