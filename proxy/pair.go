package proxy

import (
	"context"
	"net"
	"sync"
	"time"

	"wireline/handler"
	"wireline/internal/drain"
	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/internal/probe"
	"wireline/internal/timestamp"
	"wireline/internal/transport"
)

// pair is a client with its upstream: two connections, each on a poller. While nothing
// moves it has no buffer, and on an event loop no goroutine.
//
// Each side has its serving goroutine, and the two may run at the same time. mu orders
// them; nothing that is done under it blocks. The decisions are wire's.
type pair struct {
	settings *settings // those that were in force when the client came
	accepted handler.Accepted
	id       uint64
	begin    timestamp.Time

	mu       sync.Mutex
	wire     wire
	client   side
	upstream side

	target    *upstream     // that was reached, or the last that was tried; nil until then
	interrupt func()        // has the connect that is under way end at once; nil without one
	held      *handler.Held // nil until the pair holds something
	armed     int64         // when Expired is called; zero for never
	counted   bool          // the target counts the pair
	open      uint8         // sides that relay and are not closed
}

// side is one connection of a pair. It implements eventloop.Handler.
type side struct {
	pair   *pair
	conn   eventloop.Conn
	socket eventloop.Socket // conn, if the connection is on an event loop
	tls    *transport.TLS   // over conn; nil without TLS
	flow   flow             // what is read here, to the other side

	id        sideID
	scheduled bool // Ready is called anyway
	wasReset  bool // Reset was called
	truncated bool // the stream has ended without the close_notify of TLS

	partial uint32 // bytes of a TLS record that is not whole
}

func newPair(s *settings, a handler.Accepted) *pair {
	p := &pair{settings: s, accepted: a, id: s.proxy.lastID.Add(1), begin: timestamp.Now()}
	p.wire.cfg = &s.cfg
	p.client.pair, p.client.id = p, clientSide
	p.upstream.pair, p.upstream.id = p, upstreamSide
	return p
}

func (p *pair) proxy() *Proxy { return p.settings.proxy }

func (p *pair) side(id sideID) *side {
	if id == clientSide {
		return &p.client
	}
	return &p.upstream
}

func (s *side) other() *side { return s.pair.side(s.id.other()) }

// onLoop reports whether the connection is on an event loop.
func (s *side) onLoop() bool { return s.conn == eventloop.Conn(&s.socket) }

// isBare reports whether the connection is a socket on an event loop, without TLS.
func (s *side) isBare() bool { return s.onLoop() && s.tls == nil }

// transport returns what the side reads and writes: the connection, or TLS over it.
func (s *side) transport() eventloop.Transport {
	if s.tls != nil {
		return s.tls
	}
	return s.conn
}

// accept puts the client on a poller, without starting it.
func (p *pair) accept() error {
	x, s := p.proxy(), &p.client
	conn, t, err := transport.Attach(p.accepted, &x.loops, &s.socket, s, &x.portables)
	if err != nil {
		return err
	}
	s.use(conn, t)
	if p.accepted.CloseMode().Limit() > 0 {
		s.conn.SetLinger(-1) // close(2) would wait
	}
	return nil
}

// use gives the side its connection, and the TLS over that.
func (s *side) use(conn eventloop.Conn, t *transport.TLS) {
	s.conn, s.tls = conn, t
	if portable, ok := conn.(*eventloop.Portable); ok && !portable.TellsBreak() {
		s.pair.wire.sides[s.id] |= polled
	}
}

// header is what an upstream is told of the client, with the configuration cfg.
func (p *pair) header(cfg *Config) header {
	h := header{version: cfg.SendProxy}
	if cfg.sendsProxy() {
		h.client, h.local = p.accepted.RemoteAddr(), p.client.conn.LocalAddr(p.accepted.LocalAddr())
	}
	return h
}

// connect calls do, which connects to an upstream, in a goroutine, and attaches the result. The
// context that do gets ends when the pair is aborted.
func (p *pair) connect(do func(context.Context) (dialResult, error)) {
	p.proxy().run(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		p.mu.Lock()
		p.interrupt = cancel
		if p.wire.phase != connecting { // it was aborted meanwhile
			cancel()
		}
		p.mu.Unlock()
		p.attach(do(ctx))
	})
}

// attach begins to relay to the upstream that was reached, or ends the pair because of
// err. Nothing of the client has been started before.
func (p *pair) attach(to dialResult, err error) {
	p.mu.Lock()
	p.interrupt = nil
	switch {
	case err != nil:
		p.target = to.upstream
		p.wire.noteEnd(handler.ByServer, handler.ReasonNoUpstream, err)
	case p.reach(to.upstream):
		p.useConn(to.conn)
		p.start()
	default:
		netconn.Reset(to.conn)
		err = net.ErrClosed
	}
	p.mu.Unlock()
	if err != nil {
		p.refuse()
	}
}

// useConn puts the upstream's connection on a poller.
func (p *pair) useConn(conn net.Conn) {
	s, t := &p.upstream, tlsOf(conn)
	if t != nil {
		conn = t.Base()
	}
	onLoop := p.useLoop(conn)
	if !onLoop {
		x := p.proxy()
		x.portables.Add(1)
		s.use(eventloop.NewPortable(conn, s, x.portables.Done), nil)
	}
	if s.tls = t; t != nil {
		if onLoop {
			t.SetBase(nil) // it is closed
		}
		t.Use(s.conn, nil)
	}
}

// reach notes the upstream that was found. It reports false if the pair was cut meanwhile.
func (p *pair) reach(u *upstream) bool {
	p.target, p.counted = u, true
	u.connections.Add(1)
	return p.wire.phase == connecting
}

// start begins to relay.
func (p *pair) start() {
	now := p.client.conn.Now()
	p.open = 2
	p.wire.start(now)
	if p.wire.draining {
		p.awaitFirst(now)
	}
	p.arm(now)
	p.client.conn.Start()
	p.upstream.conn.Start()
}

// refuse resets the client of a pair that has come to nothing.
func (p *pair) refuse() {
	p.mu.Lock()
	p.wire.left(upstreamSide)
	p.wire.left(clientSide)
	p.mu.Unlock()
	p.client.transport().SetLinger(0)
	p.client.transport().Close()
	p.leave()
}

// leave takes the pair out of the proxy's set, and writes its record.
func (p *pair) leave() {
	p.proxy().pairs.Remove(p, func() {
		defer p.accepted.Done()
		p.mu.Lock()
		if p.wire.end == nil {
			p.wire.noteEnd(handler.ByServer, handler.ReasonClosed, nil)
		}
		record := p.record()
		if p.counted {
			p.target.active.Add(-1)
		}
		p.hold(0)
		p.mu.Unlock()
		if record.Probe {
			probe.Count(p.accepted)
		}
		p.proxy().ledger.End(record)
		p.proxy().record(record)
	})
}

// counts returns what the pair has relayed, as the client sees it. The caller holds mu.
func (p *pair) counts() handler.Counts {
	return handler.Counts{BytesIn: p.client.flow.read, BytesOut: p.upstream.flow.written}
}

// record returns the record of the pair, which may go on. The caller holds mu.
func (p *pair) record() handler.Record {
	end := p.wire.end
	if end == nil {
		end = new(ending)
	}
	r := handler.Record{
		ID:       p.id,
		Peer:     p.accepted.RemoteAddr(),
		TLS:      handler.NewTLSInfo(p.accepted.TLS()),
		Begin:    p.begin.Time(),
		Duration: p.begin.Elapsed(),
		Counts:   p.counts(),
		By:       end.by,
		Reason:   end.reason,
		Err:      end.err,
	}
	if p.target != nil {
		r.Upstream = p.target.name
	}
	r.Probe = probe.Is(p.accepted, r.BytesIn+r.BytesOut, r.By == handler.ByClient)
	return r
}

// arm has Expired called when wire is to be asked again. A timer that expires before is
// left as it is: Expired arms the next. wire's clock is the client's.
func (p *pair) arm(now int64) {
	at := p.wire.timer(now)
	if at == 0 || p.armed != 0 && p.armed <= at {
		return
	}
	p.armed = at
	if !p.wire.sides[clientSide].has(gone) {
		p.client.conn.SetTimer(at)
	} else if conn := p.upstream.conn; !p.wire.sides[upstreamSide].has(gone) {
		conn.SetTimer(conn.Now() + at - now)
	}
}

// awaitFirst has a drain wait for the first bytes of a client that has come late.
func (p *pair) awaitFirst(now int64) {
	if until := drain.FirstInput(p.accepted); !until.IsZero() && p.client.flow.read+p.upstream.flow.read == 0 {
		p.wire.await(now + int64(time.Until(until)))
	}
}

// Drain implements drain.Member.
func (p *pair) Drain() (busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.client.conn.Now()
	p.awaitFirst(now)
	return p.wire.drain(now)
}

// Wake implements drain.Member.
func (p *pair) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open > 0 {
		p.settle(p.client.conn.Now())
	}
}

// Cut implements drain.Member.
func (p *pair) Cut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.abort(handler.ReasonCut)
}

// abort resets the pair, and reports false if it is closed. A connect that is under way ends at
// once; what it belongs to resets the client then. The caller holds mu.
func (p *pair) abort(why handler.Reason) bool {
	if !p.wire.abort(why, nil) {
		return false
	}
	switch {
	case p.open > 0:
		p.settle(p.client.conn.Now())
	case p.interrupt != nil:
		p.interrupt()
	}
	return true
}
