package proxy

import "wireline/handler"

// countHeld counts what the pair keeps until something can be written, for the server's Memory.
func (p *pair) countHeld() {
	n := p.client.kept() + p.upstream.kept()
	if n == 0 && p.held == nil {
		return // as a rule
	}
	if p.held == nil {
		p.held = &handler.Held{Evict: p.evict}
	}
	p.hold(n)
}

// hold says that the pair keeps n bytes.
func (p *pair) hold(n int) {
	if p.held != nil {
		p.accepted.Memory().Hold(p.held, int64(n))
	}
}

// kept is how many bytes of memory the side has for what waits: for the other side, in a buffer
// or in a pipe of the kernel, and for its own TLS.
func (s *side) kept() (n int) {
	if s.pair.wire.sides[s.id].has(gone) {
		return 0
	}
	if s.flow.buffer != nil {
		n += len(s.flow.buffer.bytes)
	}
	if s.flow.pipe != nil {
		n += s.flow.pipe.size
	}
	if s.tls != nil {
		n += int(s.partial) + s.tls.QueueCap()
	}
	return n
}

// evict resets the pair because all connections together hold too much, and this one most.
func (p *pair) evict(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open > 0 && p.wire.abort(handler.ReasonMemory, err) {
		p.settle(p.client.conn.Now())
	}
}
