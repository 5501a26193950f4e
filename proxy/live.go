package proxy

import (
	"iter"
	"time"

	"wireline/handler"
)

// Totals implements handler.Observed. There are no frames.
func (x *Proxy) Totals() handler.Totals {
	return x.ledger.Totals(func(yield func(handler.Counts) bool) {
		x.pairs.Range(func(p *pair) bool {
			p.mu.Lock()
			counts := p.counts()
			p.mu.Unlock()
			return yield(counts)
		})
	})
}

// Live implements handler.Observed.
func (x *Proxy) Live() iter.Seq[handler.Live] {
	return func(yield func(handler.Live) bool) {
		x.pairs.Range(func(p *pair) bool { return yield(p.live()) })
	}
}

// Last implements handler.Observed.
func (x *Proxy) Last() []handler.Record { return x.ledger.Last() }

// kick ends the pair. A mode other than CloseReset sends a FIN both ways, unless something is
// under way that has not been delivered: then both sides are reset.
func (p *pair) kick(mode handler.CloseMode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case mode == handler.CloseReset, p.wire.phase == connecting:
		p.abort(handler.ReasonKicked)
	case p.wire.phase == relaying:
		now := p.client.conn.Now()
		p.wire.expire(handler.ReasonKicked, now)
		p.settle(now)
	}
}

// live returns the pair as an operator sees it.
func (p *pair) live() handler.Live {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := handler.Live{Record: p.record(), State: p.state(), Kick: p.kick}
	if p.wire.phase == connecting {
		l.Idle = l.Duration
	} else {
		l.Idle = max(0, time.Duration(p.client.conn.Now()-p.wire.activity)) // activity may lie ahead; see awaitFirst
	}
	l.Pending = int(p.upstream.flow.read - p.upstream.flow.written)
	return l
}

// state returns what the pair is doing. The caller holds mu.
func (p *pair) state() handler.State {
	switch p.wire.phase {
	case connecting:
		return handler.StateConnecting
	case relaying:
		if p.wire.halfClosed != 0 {
			return handler.StateHalfClosed
		}
		return handler.StateRelaying
	}
	return handler.StateClosing
}
