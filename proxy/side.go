package proxy

import (
	"net"

	"wireline/handler"
	"wireline/internal/eventloop"
)

const (
	// turnReads and turnBytes bound what is read from a side before others have their
	// turn.
	turnReads = 16
	turnBytes = 256 << 10
)

// Ready implements eventloop.Handler. A panic ends the pair.
func (s *side) Ready(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			s.panicked(recover())
		}
	}()
	more, last := s.serve(w, ev)
	if last {
		s.pair.leave()
	}
	returned = true
	return more
}

// serve is Ready under the lock. last reports that both sides are closed.
func (s *side) serve(w *eventloop.Worker, ev eventloop.Event) (more, last bool) {
	p := s.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	s.scheduled = false
	if s.tls != nil {
		ev = s.tls.Ready(ev)
	}
	p.wire.arrived(s.id, ev&eventloop.In != 0, ev&eventloop.Hup != 0)
	now := p.now(w)
	more = s.advance(w, now)
	for p.wire.tick(now) || s.other().help(now) {
		more = s.advance(w, now)
	}
	s.scheduled = more
	p.arm(now)
	p.countHeld()
	return more, p.open == 0
}

// panicked resets the pair after a panic with value v, or after runtime.Goexit. The deferred
// function that recovers calls it.
func (s *side) panicked(v any) {
	p := s.pair
	p.accepted.Panicked(v)
	p.mu.Lock()
	p.wire.abort(handler.ReasonPanic, nil)
	s.scheduled = false
	s.wake() // its connection may have panicked: only Ready touches that again
	s.other().help(p.client.conn.Now())
	last := p.open == 0
	p.mu.Unlock()
	if last {
		p.leave()
	}
}

// now is the time by the client's clock.
func (p *pair) now(w *eventloop.Worker) int64 {
	if w.InLoop() && p.client.onLoop() {
		return w.Now()
	}
	return p.client.conn.Now()
}

// Writable implements eventloop.Handler. What waits is written at once, which as a rule
// saves a call of Ready.
func (s *side) Writable() {
	s.update(func(p *pair) {
		if s.tls != nil && !p.wire.sides[s.id].has(gone) { // the event may have come before the close
			s.tls.Writable()
		}
		p.wire.writable(s.id)
	})
}

// Slow implements eventloop.Handler: the loop goes on in another goroutine, and nothing
// depends on that.
func (s *side) Slow() {}

// Expired implements eventloop.Handler. The timer of one side is the pair's.
func (s *side) Expired() { s.update(func(p *pair) { p.armed = 0 }) }

// update calls note, under the lock, and does what follows from what it has noted.
func (s *side) update(note func(p *pair)) {
	p, returned := s.pair, false
	defer func() {
		if !returned {
			s.panicked(recover())
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	note(p)
	p.settle(p.client.conn.Now())
	returned = true
}

// settle does for both sides what any goroutine may do, and sees to the timer and to what the
// pair holds.
func (p *pair) settle(now int64) {
	for p.wire.tick(now) || p.client.help(now) || p.upstream.help(now) {
	}
	p.arm(now)
	p.countHeld()
}

// help does for the side what any goroutine may do, and wakes its serving goroutine for the
// rest. It reports whether it did something.
func (s *side) help(now int64) (acted bool) {
	for ; ; acted = true {
		switch a := s.pair.wire.next(s.id, now); {
		case a == actWait:
			return acted
		case a < actRead:
			s.actAnywhere(a, now)
		case a == actSendFIN && s.isBare():
			s.sendFIN(now)
		case a == actReset && !s.onLoop():
			s.resetNow()
			return acted
		default:
			s.wake()
			return acted
		}
	}
}

// advance does what the side has to do, in its serving goroutine. It reports whether it
// stopped so that others have their turn.
func (s *side) advance(w *eventloop.Worker, now int64) (more bool) {
	for reads, limit := 0, s.flow.read+turnBytes; ; {
		switch a := s.pair.wire.next(s.id, now); a {
		case actWait:
			return false
		case actWrite, actAskErr, actAskUnsent:
			s.actAnywhere(a, now)
		case actRead, actDiscard, actLook:
			if reads == turnReads || s.flow.read >= limit {
				return true
			}
			reads++
			s.read(w, a, now)
		case actSendFIN:
			s.sendFIN(now)
		case actFinish:
			s.pair.wire.finished(s.id, s.tls != nil && !s.tls.Finish(), now)
		default:
			s.close(a)
			return false
		}
	}
}

// actAnywhere does what any goroutine may do.
func (s *side) actAnywhere(a action, now int64) {
	p := s.pair
	switch a {
	case actWrite:
		s.flush(now)
	case actAskErr:
		p.wire.askedErr(s.id, s.conn.Err(), now)
		p.dropUnwanted()
	case actAskUnsent:
		n := 0
		for id, f := range p.wire.sides {
			if !f.has(broken | gone) {
				n += p.side(sideID(id)).transport().Unsent()
			}
		}
		p.wire.askedUnsent(n, now)
	}
}

// wake has Ready called.
func (s *side) wake() {
	if !s.scheduled {
		s.scheduled = true
		s.conn.Wake()
	}
}

// resetNow resets a connection whose serving goroutine may be waiting in a call of its own.
// That goroutine still has to close it.
func (s *side) resetNow() {
	if !s.wasReset {
		s.wasReset, s.scheduled = true, true
		s.conn.Reset()
	}
}

// unlocked calls f without the lock, which it has again also if f panics. It is for the
// serving goroutine.
func (s *side) unlocked(f func()) {
	s.scheduled = true // Ready looks again after f
	s.pair.mu.Unlock()
	defer func() {
		s.pair.mu.Lock()
		s.scheduled = false
	}()
	f()
}

// sendFIN closes the direction to the peer. For a plain socket on an event loop any goroutine
// may do that, and it does not wait.
func (s *side) sendFIN(now int64) {
	var err error
	s.pair.wire.sending(s.id)
	if s.tls != nil && s.other().truncated {
		s.tls.SkipCloseNotify()
	}
	if s.onLoop() {
		err = s.transport().CloseWrite()
	} else {
		s.unlocked(func() { err = s.transport().CloseWrite() })
	}
	s.pair.wire.sentFIN(s.id, err, now)
	s.pair.dropUnwanted()
}

// close gives up the connection.
func (s *side) close(a action) {
	p := s.pair
	p.wire.left(s.id)
	p.armed = 0 // the timer may have been this connection's
	s.flow.drop(&p.proxy().pipes)
	defer func() { p.open-- }()
	s.unlocked(func() {
		switch a {
		case actReset:
			s.transport().SetLinger(0)
			s.transport().Close()
		case actRelease:
			p.release()
		default:
			s.transport().Close()
		}
	})
}

// release gives the upstream's connection back to its pool, unless something was read from
// it that nobody has taken. Under TLS the pool decides: only Peek can tell plaintext from session tickets.
func (p *pair) release() {
	rest := p.upstream.conn.Remove()
	conn, err := p.upstreamConn()
	if err != nil {
		return
	}
	if t := p.upstream.tls; t != nil {
		t.SetBase(conn)
		t.Release(rest)
		conn = t.Conn()
	} else if len(rest) > 0 {
		conn.Close()
		return
	}
	p.target.pool.put(conn, true, p.settings.generation)
}

// upstreamConn returns the net.Conn of the upstream, which was removed from its poller.
func (p *pair) upstreamConn() (net.Conn, error) {
	if portable, ok := p.upstream.conn.(interface{ NetConn() net.Conn }); ok {
		return portable.NetConn(), nil
	}
	return p.takeConn()
}

// dropUnwanted gives back the buffers of what nobody takes.
func (p *pair) dropUnwanted() {
	for id, f := range p.wire.sides {
		if flow := &p.side(sideID(id)).flow; flow.waits() && !f.has(pending) {
			flow.drop(&p.proxy().pipes)
		}
	}
}
