package proxy

import (
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/eventloop"
	"wireline/internal/netconn"
)

// pair is a link on the event loop: two sockets, and no goroutine or buffer while
// nothing moves.
//
// Both sockets are on one loop, so as a rule one goroutine serves both. But a loop can
// change its owner in the middle of a turn, so the two may be served at the same time:
// mu orders that. Nothing that is done under it blocks.
type pair struct {
	group    *eventloop.Group
	accepted handler.Accepted
	clientFD int
	dialing  *dialing // under mu; not nil while a loop waits for the upstream

	mu       sync.Mutex
	base     // under mu, as is all that follows
	client   end
	upstream end

	phase    phase
	draining bool
	lastUp   bool  // the last bytes that were read are the upstream's
	activity int64 // the last byte either way, by the loop's clock
	half     int64 // when the first FIN was passed on, or would have been; zero before
	resting  int64 // when the client has left an upstream that is to be used again
	until    int64 // when parting is over, or resetting if nothing is taken

	// How much the kernel had not delivered when the idle time-out was over, or while
	// resetting when it was last asked; see stalled and takes.
	unsent  int
	sampled int64 // when that was; zero if it was not asked for

	armed atomic.Int64 // when Expired is called, zero for never; written under mu
}

// phase is how far a pair has come.
type phase uint8

const (
	connecting phase = iota // there is no upstream yet, and the client is on no loop
	relaying
	resetting // one side is broken; the other takes all that came before, and is reset
	parting   // both have their FIN from the proxy, and may still be sending
	closing   // each side is closed by who serves it
)

// end is one side of a pair.
type end struct {
	eventloop.Socket
	pair *pair
	flow flow // of what is read here, to the other side

	unix    bool // it is a unix socket
	unread  bool // there may be something to read
	hup     bool // the end of the stream, or an error, is there to be read
	told    bool // the loop has told so, and it was not asked which it is
	eof     bool // it was read
	finSent bool // the end of the other side's stream was passed on
	broken  bool // the connection was reset, or failed otherwise
	full    bool // the socket takes no more for now
	watched bool // the loop tells when it does
	reset   bool // it is to be closed with a RST
	keep    bool // it is not to be closed, but goes back to its pool
	gone    bool // it is closed, or in its pool
}

func newPair(x *Proxy, g *eventloop.Group, fd int, a handler.Accepted) *pair {
	p := &pair{base: newBase(x), group: g, accepted: a, clientFD: fd}
	p.client.pair, p.upstream.pair = p, p
	return p
}

// header is what the upstream is told of the client.
func (p *pair) header() header {
	h := header{version: p.proxy.cfg.SendProxy}
	if p.proxy.cfg.sendsProxy() {
		h.client = p.accepted.RemoteAddr()
		h.local = netconn.LocalAddr(p.clientFD, p.accepted.LocalAddr())
	}
	return h
}

// refuse closes the client of a pair that has come to nothing.
func (p *pair) refuse() {
	unix.SetsockoptLinger(p.clientFD, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	netconn.RawClose(p.clientFD)
}

// attach begins to relay to the upstream that was reached, or ends the pair because of
// err.
func (p *pair) attach(to reached, err error) {
	p.mu.Lock()
	if err != nil {
		p.fail(to, err)
	} else {
		p.reach(to.upstream)
		err = p.join(to.conn)
	}
	p.mu.Unlock()
	if err != nil {
		p.refuse()
		p.leave()
	}
}

// join puts both sockets on a loop.
func (p *pair) join(conn net.Conn) error {
	if p.phase == closing { // it was cut meanwhile
		netconn.Reset(conn)
		return os.ErrClosed
	}
	fd, err := netconn.Dup(conn)
	for isOutOfDescriptors(err) && p.proxy.makeRoom() {
		fd, err = netconn.Dup(conn)
	}
	conn.Close()
	if err != nil {
		p.end(handler.ByServer, handler.ReasonIOError, err)
		return err
	}
	return p.start(fd, p.group.Add(&p.client.Socket, p.clientFD, &p.client))
}

// start begins to relay to fd, if err is nil: what came of putting the client on a loop.
func (p *pair) start(fd int, err error) error {
	if err == nil {
		err = p.group.AddBeside(&p.client.Socket, &p.upstream.Socket, fd, &p.upstream)
		if err != nil {
			p.client.Remove()
		}
	}
	if err != nil {
		netconn.RawClose(fd)
		p.end(handler.ByServer, handler.ReasonIOError, err)
		return err
	}
	p.phase = relaying
	p.client.unix, p.upstream.unix = isUnix(p.clientFD), p.base.upstream.network == "unix"
	p.activity = p.group.Now()
	p.arm()
	p.client.Start()
	p.upstream.Start()
	return nil
}

// isUnix asks the kernel, as a client may have been announced with an address of another
// kind.
func isUnix(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_UNIX
}

// attachSocket is attach to what a loop has connected to. The pair stays on it.
func (p *pair) attachSocket(d *dialing) {
	p.mu.Lock()
	p.reach(d.to)
	var err error
	if p.phase == closing { // it was cut meanwhile
		netconn.RawClose(d.FD())
		err = os.ErrClosed
	} else {
		err = p.start(d.FD(), p.group.AddBeside(&d.Socket, &p.client.Socket, p.clientFD, &p.client))
	}
	p.mu.Unlock()
	if err != nil {
		p.refuse()
		p.leave()
	}
}

func (e *end) other() *end {
	if e == &e.pair.client {
		return &e.pair.upstream
	}
	return &e.pair.client
}

func (e *end) party() handler.Party {
	if e == &e.pair.client {
		return handler.ByClient
	}
	return handler.ByUpstream
}

// Ready implements eventloop.Handler.
func (e *end) Ready(w *eventloop.Worker, ev eventloop.Event) (more bool) {
	p := e.pair
	p.mu.Lock()
	if ev&eventloop.In != 0 {
		e.unread = true
	}
	if ev&eventloop.Hup != 0 {
		e.unread, e.hup, e.told = true, true, true
	}
	more = p.step(w)
	last := false
	if p.phase == closing {
		more = false
		last = e.close()
	}
	p.mu.Unlock()
	if last {
		p.leave()
	}
	return more
}

// Writable implements eventloop.Handler.
func (e *end) Writable() {
	p := e.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.full {
		e.full = false
		e.Wake()
	}
}

// Slow implements eventloop.Handler: the loop has gone on without this turn, and
// nothing depends on it.
func (e *end) Slow() {}

// Expired implements eventloop.Handler; the client's end has the pair's timer.
func (e *end) Expired() {
	e.pair.armed.Store(0)
	e.Wake()
}

// step moves what can be moved, and reports whether it stopped because others wait.
func (p *pair) step(w *eventloop.Worker) (more bool) {
	now := w.Now()
	if !w.InLoop() {
		now = p.group.Now()
	}
	switch p.phase {
	case relaying, resetting:
		more = p.client.pump(w, now)
		more = p.upstream.pump(w, now) || more
		p.client.lookForReset()
		p.upstream.lookForReset()
		p.conclude(now)
	case parting:
		more = p.client.discard(w)
		more = p.upstream.discard(w) || more
	}
	p.checkTime(now)
	return more
}

// conclude looks whether both directions, or one side, have come to their end.
func (p *pair) conclude(now int64) {
	c, u := &p.client, &p.upstream
	if p.phase == relaying && p.resting != 0 && u.eof && !u.finSent {
		u.shut(now) // it is not to be used again after all
	}
	switch {
	case c.broken && u.broken: // nobody is there to take anything
		c.reset, u.reset = true, true
		p.phase = closing
	case p.phase != relaying:
	case c.broken:
		u.resetWhenSent(now)
	case u.broken:
		c.resetWhenSent(now)
	case c.finSent && u.finSent:
		p.phase = closing
	case u.finSent || c.finSent || p.resting != 0:
		if p.half == 0 {
			p.half = now
		}
	}
}

// lookForReset notes that a side is broken where no read tells: its FIN was read, or it
// is not read from, as the other side takes nothing. Only what has broken it leaves an
// error: a FIN does not, however long it waits to be read.
func (e *end) lookForReset() {
	if !e.told || e.broken || !e.eof && !e.flow.pending() {
		return
	}
	e.told = false // until the next event
	if errno, err := unix.GetsockoptInt(e.FD(), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && errno != 0 {
		e.breaks(os.NewSyscallError("read", unix.Errno(errno)))
	}
}

// resetWhenSent passes on that the other side is broken. A RST makes the kernel throw
// away what it still has to send, so that is waited for, and all that is still to be read
// of the other side.
func (e *end) resetWhenSent(now int64) {
	p := e.pair
	e.reset, e.other().reset = true, true
	p.phase = resetting
	p.unsent = -1 // not asked yet
	e.takes(now)
}

// takes reports whether there is something for e to take, and it still does.
func (e *end) takes(now int64) bool {
	p, from := e.pair, e.other()
	unsent := netconn.Unsent(e.FD())
	if from.eof && !from.flow.pending() && unsent == 0 {
		return false
	}
	if unsent != p.unsent {
		p.unsent, p.until = unsent, now+int64(sentTime)
	}
	return now < max(p.until, p.activity+int64(sentTime))
}

// close gives up the socket, which the caller serves, and reports whether it was the
// last of the pair.
func (e *end) close() (last bool) {
	p, other := e.pair, e.other()
	if e.gone {
		return false
	}
	e.gone = true
	e.flow.drop(&p.proxy.engine.pipes)
	switch {
	case e.keep:
		e.Remove()
		p.giveBack(e.FD())
	case e.reset:
		unix.SetsockoptLinger(e.FD(), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		e.Close()
	default:
		e.Close()
	}
	if !other.gone {
		other.Wake()
	}
	return other.gone
}

// giveBack returns the upstream's socket to its pool.
func (p *pair) giveBack(fd int) {
	conn, err := netconn.Attach(fd)
	if err == nil {
		p.base.upstream.pool.put(conn, true)
	}
}

// shut passes on the end of the other side's stream, but not to an upstream whose
// connection can be used again, as the last word was its own: that is to rest.
func (e *end) shut(now int64) {
	p := e.pair
	p.end(e.other().party(), handler.ReasonFIN, nil)
	if e == &p.upstream && p.proxy.cfg.Pool.Reuse && p.lastUp && !e.eof && !p.draining {
		if p.resting == 0 {
			p.resting = now
		}
		return
	}
	e.finSent = true
	unix.Shutdown(e.FD(), unix.SHUT_WR) // fails only on one that is broken, which will show
}

// checkTime ends the pair if a time-out is over, and arms the timer for the next.
func (p *pair) checkTime(now int64) {
	switch p.phase {
	case relaying:
		switch at, why := p.due(); {
		case at == 0 || now < at || p.stalled(now, why):
		case why == handler.ReasonFIN:
			p.upstream.keep = true
			p.phase = closing
		default:
			p.end(handler.ByServer, why, nil)
			p.part(now, why)
		}
	case resetting:
		e := &p.client
		if e.broken {
			e = &p.upstream
		}
		if !e.takes(now) {
			p.phase = closing
		}
	case parting:
		if now >= p.until || p.client.eof && p.upstream.eof {
			p.phase = closing
		}
	}
	p.arm()
}

// due returns when the first time-out of a pair that relays is over, and its name;
// zero if there is none.
func (p *pair) due() (at int64, why handler.Reason) {
	earlier := func(end int64, reason handler.Reason) {
		if at == 0 || end < at {
			at, why = end, reason
		}
	}
	if limit := int64(p.proxy.cfg.IdleTimeout); limit > 0 {
		end := p.activity + limit
		if p.sampled > p.activity {
			end = p.sampled + limit/16
		}
		earlier(end, handler.ReasonIdleTimeout)
	}
	if limit := int64(p.proxy.cfg.HalfCloseTimeout); limit > 0 && p.half != 0 {
		earlier(p.half+limit, handler.ReasonHalfCloseTimeout)
	}
	if p.resting != 0 && !p.upstream.eof && !p.upstream.flow.pending() {
		earlier(max(p.resting, p.activity)+int64(p.proxy.cfg.Pool.rest()), handler.ReasonFIN)
	}
	if p.draining && !p.client.flow.pending() && !p.upstream.flow.pending() {
		earlier(p.activity+int64(p.proxy.cfg.drainQuiet()), handler.ReasonDrain)
	}
	return at, why
}

// stalled looks, when the idle time-out is over, whether the kernel is still
// delivering what it was given: of that, no event tells while a good part of it is
// not delivered. It reports whether that is reason to wait. Where nothing is
// delivered, it is for a sixteenth of the time.
func (p *pair) stalled(now int64, why handler.Reason) bool {
	if why != handler.ReasonIdleTimeout {
		return false
	}
	unsent := netconn.Unsent(p.client.FD()) + netconn.Unsent(p.upstream.FD())
	before, sampled := p.unsent, p.sampled > p.activity
	p.unsent, p.sampled = unsent, now
	if sampled && unsent == before || !sampled && unsent == 0 {
		return false
	}
	if sampled {
		p.activity = now
	}
	return true
}

// part closes a pair on which nothing moves. Each side sees a FIN in any case, also
// when it begins to send at this very moment, and a close would make a RST of that.
// Where bytes are still to be delivered, no FIN may say that they were.
func (p *pair) part(now int64, why handler.Reason) {
	c, u := &p.client, &p.upstream
	if c.flow.pending() || u.flow.pending() || why == handler.ReasonHalfCloseTimeout {
		c.reset, u.reset = true, true
		p.phase = closing
		return
	}
	for _, e := range []*end{c, u} {
		if !e.finSent {
			unix.Shutdown(e.FD(), unix.SHUT_WR)
			e.finSent = true
		}
	}
	p.phase = parting
	p.until = now + int64(lingerTime)
}

// arm has Expired called when the next time-out is over. A timer that ends before is
// left as it is: who is called then arms the next.
func (p *pair) arm() {
	var at int64
	switch p.phase {
	case relaying:
		at, _ = p.due()
	case resetting:
		at = p.group.Now() + int64(lookAgain/4)
	case parting:
		at = p.until
	}
	if armed := p.armed.Load(); at != 0 && !p.client.gone && (armed == 0 || at < armed) {
		p.armed.Store(at)
		p.client.SetTimer(at)
	}
}

// leave implements link.
func (p *pair) leave() {
	p.proxy.links.Remove(p, func() {
		p.mu.Lock()
		record := p.record(p.accepted.RemoteAddr(), p.client.flow.read, p.upstream.flow.written)
		p.release()
		p.mu.Unlock()
		p.proxy.record(record)
		p.accepted.Done()
	})
}

// Drain implements drain.Member.
func (p *pair) Drain() (busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	return p.phase == connecting || p.client.flow.pending() || p.upstream.flow.pending() ||
		p.group.Now()-p.activity < int64(p.proxy.cfg.drainQuiet())
}

// Wake implements drain.Member.
func (p *pair) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != connecting && !p.client.gone {
		p.client.Wake()
	}
}

// Cut implements drain.Member.
func (p *pair) Cut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client.gone && p.upstream.gone {
		return false
	}
	p.by = "" // a drain may have ended it, in vain
	p.end(handler.ByServer, handler.ReasonCut, nil)
	p.client.reset, p.upstream.reset = true, true
	p.client.keep, p.upstream.keep = false, false
	began := p.phase != connecting
	p.phase = closing
	switch {
	case !began:
		p.proxy.stop() // ends the connects, as everything is being cut
		if p.dialing != nil {
			p.dialing.Wake()
		}
	case !p.client.gone:
		p.client.Wake()
	case !p.upstream.gone:
		p.upstream.Wake()
	}
	return true
}
