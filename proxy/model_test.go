package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"wireline/handler"
	"wireline/internal/eventloop"
)

// model is a pair over two connections that exist only here, with a clock of its own: what
// happens when is up to the test.
type model struct {
	handler.Accepted
	proxy *Proxy
	pair  *pair
	ends  [2]*modelConn
	now   int64

	records  []handler.Record
	done     int
	closedAt int64
	wrong    []string
}

// kind is how a connection of the model behaves.
type kind struct {
	overlapped bool // a Write is reported later, and no event tells of a reset while paused
	oneWay     bool // it has no half-close
}

// modelConn is a connection of the model, and its peer.
type modelConn struct {
	kind
	m      *model
	side   *side
	worker eventloop.Worker

	// What the peer has sent, and how much of it was read.
	sent, read int
	fin, rst   bool
	told       bool // of the reset, by a Read, a Write or Err

	// What the proxy has sent.
	stalled  bool // the peer takes nothing
	buffered int  // not taken by the peer yet
	got      int  // taken
	gotFIN   bool
	gotRST   bool

	out      int // bytes of an overlapped write
	carried  bool
	watching bool

	started, held bool
	armed         bool // the next input is an event
	event         eventloop.Event
	timer         int64
	resetNow      bool
	linger        int
	closed        bool
	tooSlow       bool // time has passed while the peer took nothing
}

// modelRoom is how much a connection takes of what a stalled peer is sent.
const modelRoom = 4

func newModel(cfg Config, kinds [2]kind) *model {
	cfg.Upstreams = []string{"127.0.0.1:1"}
	m := &model{now: 1}
	m.proxy = &Proxy{Config: cfg, OnRecord: func(r handler.Record) { m.records = append(m.records, r) }}
	m.proxy.made.Do(func() {
		m.proxy.stop = func() {}
		m.proxy.settings.Store(m.proxy.newSettings(cfg))
	})
	s := m.proxy.settings.Load()
	m.pair = newPair(s, m)
	for id := range m.ends {
		side := m.pair.side(sideID(id))
		m.ends[id] = &modelConn{m: m, side: side, linger: -1, kind: kinds[id], armed: true}
		side.conn = m.ends[id]
		if kinds[id].overlapped {
			m.pair.wire.sides[id] |= polled
		}
	}
	m.proxy.pairs.Add(m.pair)
	m.pair.mu.Lock()
	m.pair.reach(s.upstreams[0])
	m.pair.start()
	m.pair.mu.Unlock()
	m.run()
	return m
}

// discarded is the net.Conn of the upstream, for its pool.
type discarded struct{ net.Conn }

func (discarded) Close() error { return nil }

func (m *model) RemoteAddr() net.Addr    { return nil }
func (m *model) Memory() *handler.Memory { return nil }
func (m *model) TLS() *tls.Conn          { return nil }
func (m *model) Done()                   { m.done++ }

func (m *model) errorf(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// run calls the sides until nothing is left to be done at this moment.
func (m *model) run() {
	for calls := 0; ; calls++ {
		did := false
		for _, c := range m.ends {
			did = c.turn() || did
		}
		if !did {
			return
		}
		if calls > 1000 {
			m.errorf("it spins")
			return
		}
	}
}

// turn calls the side if there is a reason.
func (c *modelConn) turn() (did bool) {
	if c.out > 0 && !c.carried && c.watching && (!c.stalled || c.rst || c.resetNow) {
		c.carried = true
	}
	if c.watching && !c.closed && (c.carried || !c.overlapped && (!c.stalled || c.rst)) {
		c.watching = false
		c.side.Writable()
		did = true
	}
	if c.started && !c.closed && c.event != 0 && (!c.held || c.resetNow) {
		ev := c.event
		c.event = 0
		if c.side.Ready(&c.worker, ev) {
			c.event |= 1 // of no meaning
		}
		did = true
	}
	if c.closed && c.m.closedAt == 0 && c.m.ends[0].closed && c.m.ends[1].closed {
		c.m.closedAt = c.m.now
	}
	return did
}

// pass lets time go by, and calls what expires.
func (m *model) pass(d time.Duration) {
	for _, c := range m.ends {
		c.tooSlow = c.tooSlow || c.stalled
	}
	for end := m.now + int64(d); ; m.run() {
		c := m.nextTimer()
		if c == nil || c.timer > end {
			m.now = end
			return
		}
		m.now = max(m.now, c.timer)
		c.timer = 0
		c.side.Expired()
	}
}

func (m *model) nextTimer() (next *modelConn) {
	for _, c := range m.ends {
		if c.timer != 0 && !c.closed && (next == nil || c.timer < next.timer) {
			next = c
		}
	}
	return next
}

// What the peer does.

func (c *modelConn) sends(n int) {
	c.sent += n
	c.tell(eventloop.In)
}

func (c *modelConn) sendsFIN() {
	c.fin = true
	c.tell(eventloop.In | eventloop.Hup)
}

func (c *modelConn) resets() {
	c.rst = true
	c.tell(eventloop.In | eventloop.Hup)
}

func (c *modelConn) setStalled(stalled bool) {
	c.stalled = stalled
	if !stalled {
		c.got += c.buffered
		c.buffered = 0
	}
}

// tell has Ready called. What waits in a Read learns nothing while it is not in it.
func (c *modelConn) tell(ev eventloop.Event) {
	if !c.closed && (c.armed || !c.overlapped) {
		c.event |= ev
		c.armed = false
	}
}

// The methods of eventloop.Conn.

var errModelReset = fmt.Errorf("model: %w", syscall.ECONNRESET)

func (c *modelConn) Now() int64         { return c.m.now }
func (c *modelConn) Start()             { c.started = true }
func (c *modelConn) Wake()              { c.event |= eventloop.Woken }
func (c *modelConn) SetTimer(due int64) { c.timer = due }

func (c *modelConn) WatchOut(bool) error {
	c.watching = true
	return nil
}

func (c *modelConn) Read(p []byte) (n int, drained bool, err error) {
	defer func() { c.armed = drained }()
	n = min(c.sent-c.read, len(p))
	for i := range n {
		p[i] = byte(c.read + i)
	}
	c.read += n
	switch {
	case n > 0:
		return n, c.read == c.sent && !c.fin && !c.rst, nil
	case c.fin || c.rst && c.told:
		return 0, false, io.EOF
	case c.rst:
		c.told = true
		return 0, false, errModelReset
	}
	return 0, true, nil
}

func (c *modelConn) Look(p []byte) (n int, drained bool, err error) { return c.Read(p) }
func (c *modelConn) Discard(int) int                                { return 0 }

func (c *modelConn) Write(parts [3][]byte) (n int, err error) {
	p := parts[0]
	switch {
	case c.closed:
		c.m.errorf("Write after Close")
		return 0, net.ErrClosed
	case c.gotFIN:
		c.m.errorf("Write after a FIN")
	case c.overlapped:
		return c.writeOverlapped(p)
	case c.rst:
		return 0, errModelReset
	}
	n = len(p)
	if c.stalled {
		n = min(n, max(modelRoom-c.buffered, 0))
	}
	c.deliver(p[:n])
	return n, nil
}

func (c *modelConn) writeOverlapped(p []byte) (n int, err error) {
	switch {
	case c.out == 0:
	case !c.carried:
		return 0, nil
	case c.rst || c.resetNow:
		c.out, c.carried = 0, false
		return 0, errModelReset
	default:
		n = c.out
		c.deliver(p[:n])
		c.out, c.carried = 0, false
	}
	c.out = len(p) - n
	return n, nil
}

// deliver checks that the bytes follow what was sent before.
func (c *modelConn) deliver(p []byte) {
	for i, b := range p {
		if b != byte(c.got+c.buffered+i) {
			c.m.errorf("byte %d of what the peer gets is another", c.got+c.buffered+i)
			break
		}
	}
	if c.stalled {
		c.buffered += len(p)
	} else {
		c.got += len(p)
	}
}

func (c *modelConn) CloseWrite() error {
	if c.oneWay {
		return errors.ErrUnsupported
	}
	c.takesFIN()
	return nil
}

// takesFIN checks that a FIN does not claim too much.
func (c *modelConn) takesFIN() {
	from := c.other()
	if c.gotFIN {
		return
	}
	c.gotFIN = true
	if n := c.got + c.buffered; n != from.read && !c.rst {
		c.m.errorf("a FIN after %d bytes, of %d that were read", n, from.read)
	}
	if x := &c.m.pair.wire; (x.end == nil || x.end.by != handler.ByServer) && x.fate != fateReuse && !from.fin && !c.oneWay && !from.oneWay {
		c.m.errorf("a FIN that nobody has sent")
	}
}

func (c *modelConn) other() *modelConn { return c.m.ends[c.side.id.other()] }

func (c *modelConn) Unsent() int        { return c.buffered + c.out }
func (c *modelConn) Acknowledged() bool { return true }

func (c *modelConn) Err() error {
	if c.rst && !c.told {
		c.told = true
		return errModelReset
	}
	return nil
}

func (c *modelConn) LocalAddr(net.Addr) net.Addr { return nil }
func (c *modelConn) SetLinger(seconds int)       { c.linger = seconds }

func (c *modelConn) Reset() {
	c.resetNow = true
	c.event |= eventloop.Woken
}

func (c *modelConn) Remove() (rest []byte) {
	c.leave()
	return nil
}

// NetConn is for the pool of the upstream.
func (c *modelConn) NetConn() net.Conn { return discarded{} }

func (c *modelConn) Close() {
	c.leave()
	if c.linger == 0 || c.resetNow {
		c.gotRST = true
	} else {
		c.takesFIN()
	}
}

func (c *modelConn) leave() {
	if c.closed {
		c.m.errorf("closed twice")
	}
	c.closed = true
}
