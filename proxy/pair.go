package proxy

import (
	"net"
	"sync"
	"time"

	"wireline/handler"
	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/internal/probe"
	"wireline/internal/transport"
)

// pair is a client with its upstream: two connections, each on a poller. While nothing
// moves it has no buffer, and on an event loop no goroutine.
//
// Each side has its serving goroutine, and the two may run at the same time. mu orders
// them; nothing that is done under it blocks. The decisions are wire's.
type pair struct {
	proxy    *Proxy
	accepted handler.Accepted
	id       uint64
	begin    time.Time

	mu       sync.Mutex
	wire     wire
	client   side
	upstream side

	target  *upstream // that was reached, or the last that was tried; nil until then
	dialing *dialing  // not nil while an event loop waits for the upstream
	armed   int64     // when Expired is called; zero for never
	counted bool      // the target counts the pair
	open    uint8     // sides that relay and are not closed
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
}

func newPair(x *Proxy, a handler.Accepted) *pair {
	p := &pair{proxy: x, accepted: a, id: x.lastID.Add(1), begin: time.Now()}
	p.wire.cfg = &x.Config
	p.client.pair, p.client.id = p, clientSide
	p.upstream.pair, p.upstream.id = p, upstreamSide
	return p
}

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
	x, s := p.proxy, &p.client
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

// header is what the upstream is told of the client.
func (p *pair) header() header {
	h := header{version: p.proxy.Config.SendProxy}
	if p.proxy.Config.sendsProxy() {
		h.client, h.local = p.accepted.RemoteAddr(), p.client.conn.LocalAddr(p.accepted.LocalAddr())
	}
	return h
}

// attach begins to relay to the upstream that was reached, or ends the pair because of
// err. Nothing of the client has been started before.
func (p *pair) attach(to dialResult, err error) {
	p.mu.Lock()
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
		x := p.proxy
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
	p.proxy.pairs.Remove(p, func() {
		defer p.accepted.Done()
		p.mu.Lock()
		record := p.record()
		if p.counted {
			p.target.active.Add(-1)
		}
		p.mu.Unlock()
		if record.Probe {
			probe.Count(p.accepted)
		}
		p.proxy.record(record)
	})
}

// record counts bytes as the client sees them.
func (p *pair) record() handler.Record {
	if p.wire.end == nil {
		p.wire.noteEnd(handler.ByServer, handler.ReasonClosed, nil)
	}
	end := p.wire.end
	r := handler.Record{
		ID:       p.id,
		Peer:     p.accepted.RemoteAddr(),
		TLS:      handler.NewTLSInfo(p.accepted.TLS()),
		Begin:    p.begin,
		Duration: time.Since(p.begin),
		BytesIn:  p.client.flow.read,
		BytesOut: p.upstream.flow.written,
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

// Drain implements drain.Member.
func (p *pair) Drain() (busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wire.drain(p.client.conn.Now())
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
	if !p.wire.abort(handler.ReasonCut) {
		return false
	}
	if p.open == 0 { // it is still connecting
		p.proxy.stop() // ends the connects, as everything is being cut
		if p.dialing != nil {
			p.dialing.Wake()
		}
		return true
	}
	p.settle(p.client.conn.Now())
	return true
}
