package proxy

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// young is the age below which a connection that is found closed says that the
	// upstream does not want connections in advance.
	young = time.Second

	// sweepEvery is how often a pool checks its connections.
	sweepEvery = time.Second

	// longestReturn bounds the wait for a connection that was taken to come back, before
	// another one is made in its place.
	longestReturn = sweepEvery / 2

	// A failed connect is repeated after firstPause, then after twice that, up to
	// lastPause.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// pool holds connections to one upstream that wait for clients.
type pool struct {
	upstream *upstream
	taken    chan struct{} // a connection was taken

	mu     sync.Mutex
	closed bool
	idle   []idleConn // the oldest first
	lost   bool       // a young one was found dead since the last sweep
	count  PoolStats
}

type idleConn struct {
	conn  net.Conn
	since time.Time
	used  bool // it had a client

	generation int // of the settings that it was made with
}

// PoolStats describes a pool.
type PoolStats struct {
	Idle   int           // connections that wait
	Oldest time.Duration // for how long the oldest one has waited

	Hits, Misses uint64 // clients that got a connection, and that did not
	Dead         uint64 // found closed by the upstream, or with unread input
	Expired      uint64 // had waited for MaxIdle
	Reused       uint64 // came back after use
}

func (p *pool) init(u *upstream) {
	p.upstream = u
	p.taken = make(chan struct{}, 1)
}

// settings are those in force.
func (p *pool) settings() *settings { return p.upstream.proxy.settings.Load() }

func (p *pool) cfg() *PoolConfig { return &p.settings().cfg.Pool }

// get returns a connection for a client with these settings, one that looks alive; nil if there is
// none.
func (p *pool) get(s *settings) net.Conn {
	if s.cfg.Pool.Size == 0 {
		return nil
	}
	defer p.want()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.idle) > 0 && p.idle[0].generation <= s.generation { // or the client is from before
		c := p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
		if p.keepsLocked(c, now) {
			p.count.Hits++
			return c.conn
		}
	}
	p.count.Misses++
	return nil
}

// keepsLocked reports whether c is still usable, and closes it if not.
func (p *pool) keepsLocked(c idleConn, now time.Time) bool {
	switch {
	case !p.fits(c):
	case now.Sub(c.since) >= p.cfg().maxIdle():
		p.count.Expired++
	case !alive(c.conn, c.used):
		p.count.Dead++
		p.lost = p.lost || !c.used && now.Sub(c.since) < young
	default:
		return true
	}
	closeIdle(c.conn)
	return false
}

// fits reports whether the settings in force have a use for c.
func (p *pool) fits(c idleConn) bool {
	s := p.settings()
	return c.generation == s.generation && (!c.used || s.cfg.Pool.Reuse) && p.upstream.takesClients()
}

// closeIdle closes a connection without waiting for its peer: the caller holds a lock, or is an
// accept loop.
func closeIdle(conn net.Conn) {
	if t := tlsOf(conn); t != nil {
		t.CloseNow()
	} else {
		conn.Close()
	}
}

// put takes a connection that was made with settings of this generation. It closes it where there
// is no room, or no client to come.
func (p *pool) put(conn net.Conn, used bool, generation int) {
	c := idleConn{conn, time.Now(), used, generation}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= p.cfg().Size || !p.fits(c) {
		closeIdle(conn)
		return
	}
	if used {
		p.count.Reused++
	}
	p.idle = append(p.idle, c)
}

// adapt closes the connections for which there is no use any more, and asks for others.
func (p *pool) adapt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.want()
	left := len(p.idle)
	p.idle = slices.DeleteFunc(p.idle, func(c idleConn) bool {
		if p.fits(c) && left <= p.cfg().Size {
			return false
		}
		left--
		closeIdle(c.conn)
		return true
	})
}

// drop closes the oldest connection. It reports false if there is none.
func (p *pool) drop() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return false
	}
	closeIdle(p.idle[0].conn)
	p.idle = slices.Delete(p.idle, 0, 1)
	return true
}

// want asks fill for one more connection.
func (p *pool) want() {
	select {
	case p.taken <- struct{}{}:
	default:
	}
}

// fill makes connections in advance, and checks those that wait, until ctx ends.
func (p *pool) fill(ctx context.Context) {
	pause := time.Duration(0)
	returning := false // a connection was taken that may come back
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.taken:
			if pause > 0 || returning {
				continue // the timer runs already
			}
			if p.cfg().Reuse {
				returning = true
				timer.Reset(2 * min(p.cfg().reuseQuiet(), longestReturn/2))
				continue
			}
		}
		returning = false
		next := sweepEvery
		if p.top(ctx, pause > 0) {
			pause = 0
		} else {
			pause = min(max(2*pause, firstPause), lastPause)
			next = pause
		}
		timer.Reset(next)
	}
}

// await waits for d, and reports false if ctx ends before.
func await(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// top fills the pool up. It reports false if a connect failed, or if young connections were
// found dead. In these cases it makes one connection at most.
func (p *pool) top(ctx context.Context, failing bool) bool {
	room, lost := p.sweep()
	if lost || failing {
		room = min(room, 1)
	}
	for range room {
		s := p.settings()
		conn, err := p.upstream.dial(ctx, s, s.cfg.connectTimeout(), header{})
		if err != nil {
			return false
		}
		p.put(conn, false, s.generation)
	}
	return !lost
}

// sweep closes the connections that are not usable any more. It returns how many more the
// pool wants, and whether a young one was found dead.
func (p *pool) sweep() (room int, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if p.keepsLocked(c, now) {
			kept = append(kept, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	lost, p.lost = p.lost, false
	if !p.upstream.takesClients() {
		return 0, lost
	}
	return p.cfg().Size - len(p.idle), lost
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		closeIdle(c.conn)
	}
	p.idle = nil
}

func (p *pool) stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.count
	s.Idle = len(p.idle)
	if s.Idle > 0 {
		s.Oldest = time.Since(p.idle[0].since)
	}
	return s
}
