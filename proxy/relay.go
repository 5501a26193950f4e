package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
)

// buffers holds *[bufferSize]byte.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// past is a deadline that interrupts a Read or Write in progress and every later one.
var past = time.Unix(1, 0)

// relay is a link on the goroutine path: one goroutine for each direction, and a
// timer.
type relay struct {
	client, upstream side
	connecting       context.Context
	giveUp           context.CancelFunc // of connecting
	activity         atomic.Int64       // the last byte either way, a Duration since base.begin
	lastUp           atomic.Bool        // the last bytes that were read are the upstream's
	over             atomic.Int32       // directions that have ended
	asleep           atomic.Bool        // a Write that begins has to rouse the timer

	mu       sync.Mutex
	base     // under mu
	timer    *time.Timer
	half     time.Time // when the first FIN was passed on, or would have been
	resting  time.Time // when the client has left an upstream that is to be used again
	taken    int64     // bytes that the other side of a broken one has acknowledged
	until    time.Time // when it has had the time to take more
	draining bool
	stopped  bool // both directions are interrupted, or both have ended
	cut      bool // both sides are to be reset
	kept     bool // the upstream's connection goes back to its pool
	closed   bool // both sides are
}

// side is one end of a relay.
type side struct {
	conn    net.Conn
	party   handler.Party
	read    atomic.Int64 // bytes
	written atomic.Int64
	writing atomic.Bool // a Write is in progress
	broken  atomic.Bool // it was reset, or failed otherwise
	ended   atomic.Bool // its FIN was read
}

func newRelay(x *Proxy, conn net.Conn) *relay {
	r := &relay{base: newBase(x)}
	r.client.conn, r.client.party = conn, handler.ByClient
	r.upstream.party = handler.ByUpstream
	r.connecting, r.giveUp = context.WithCancel(x.ctx)
	return r
}

// run serves a. A panic costs this client only.
func (r *relay) run(a handler.Accepted) {
	defer a.Done()
	returned := false
	defer func() {
		if !returned {
			a.Panicked(recover())
			r.client.conn.Close()
		}
	}()
	r.serve()
	returned = true
}

// serve relays until both directions have ended, or somebody ends the link.
func (r *relay) serve() {
	defer r.leave()
	defer r.giveUp()
	if !r.connect() {
		netconn.Reset(r.client.conn)
		return
	}
	r.watch()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.relayToClient()
	}()
	r.relayToUpstream()
	<-done
	r.close()
}

// connect reports whether there is an upstream.
func (r *relay) connect() bool {
	x, conn := r.proxy, r.client.conn
	c := x.choose(conn.RemoteAddr)
	h := header{x.cfg.SendProxy, conn.RemoteAddr(), conn.LocalAddr()}
	to, err := c.connect(r.connecting, c.warm(h), h)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.fail(to, err)
		return false
	}
	r.reach(to.upstream)
	r.upstream.conn = to.conn
	r.touch()
	if r.cut { // meanwhile
		netconn.Reset(to.conn)
		return false
	}
	return true
}

// The two directions have functions of their own, so that a stack trace tells them
// apart.

func (r *relay) relayToUpstream() { r.copy(&r.upstream, &r.client) }
func (r *relay) relayToClient()   { r.copy(&r.client, &r.upstream) }

// copy relays what src sends to dst, until that ends.
func (r *relay) copy(dst, src *side) {
	b := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(b)
	for {
		n, err := src.conn.Read(b[:])
		if n > 0 {
			src.read.Add(int64(n))
			r.lastUp.Store(src == &r.upstream)
			r.touch()
			if !r.write(dst, b[:n]) {
				r.over.Add(1)
				return
			}
			if src.broken.Load() { // and what it has sent is taken slowly
				src.conn.SetReadDeadline(time.Now().Add(sentTime))
			}
		}
		if err != nil {
			r.ended(dst, src, err)
			return
		}
	}
}

// write reports whether dst took all of p.
func (r *relay) write(dst *side, p []byte) bool {
	dst.writing.Store(true)
	if r.asleep.Load() {
		r.rouse()
	}
	n, err := dst.conn.Write(p)
	dst.written.Add(int64(n))
	r.touch() // before it is not writing any more: that was not silence
	dst.writing.Store(false)
	if err == nil {
		return true
	}
	if r.broke(dst, err) {
		// What it has sent before is still to be read. More does not come.
		dst.conn.SetReadDeadline(time.Now().Add(sentTime))
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true // it was stopped, and no FIN may say that all is there
	return false
}

// ended is the end of a direction.
func (r *relay) ended(dst, src *side, err error) {
	if err != io.EOF {
		r.broke(src, err)
	} else if !r.wasBroken(src) {
		src.ended.Store(true)
		if src != &r.client || !r.keep() {
			r.closeWrite(dst, src)
		}
	}
	first := r.over.Add(1) == 1
	if first && src.ended.Load() {
		// Its FIN was read, but a RST may follow. The end of the other direction
		// ends the wait.
		if err := netconn.AwaitReset(src.conn); err != nil {
			r.broke(src, err)
		}
	}
	if !first || src.broken.Load() {
		dst.conn.SetReadDeadline(past) // there is nothing more to know of it
	}
}

// wasBroken reports whether the end of a side's stream is none: lookForReset has taken
// the error that would have told, or is about to.
func (r *relay) wasBroken(s *side) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.broken.Load()
}

// broke notes that a side is broken, unless err is only the proxy's own doing.
func (r *relay) broke(s *side, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.brokeLocked(s, err)
}

func (r *relay) brokeLocked(s *side, err error) bool {
	if r.stopped || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	s.broken.Store(true)
	r.endIO(s.party, err)
	return true
}

// closeWrite passes on the end of a stream. Where dst cannot be told without being
// closed, it is the end of the link.
func (r *relay) closeWrite(dst, src *side) {
	err := netconn.CloseWrite(dst.conn)
	if netconn.IsReset(err) { // as under TLS, which has something to write
		r.broke(dst, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(src.party, handler.ReasonFIN, nil)
	r.halfClosed()
	if errors.Is(err, errors.ErrUnsupported) {
		r.stopLocked()
	}
	r.armLocked()
}

// keep does not tell an upstream of the client's FIN whose connection can be used
// again, as the last word was its own: that is to rest. It reports whether that is so.
func (r *relay) keep() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.proxy.cfg.Pool.Reuse || r.stopped || r.draining || r.upstream.ended.Load() || !r.lastUp.Load() {
		return false
	}
	r.end(handler.ByClient, handler.ReasonFIN, nil)
	r.resting = time.Now()
	r.halfClosed()
	r.armLocked()
	return true
}

// halfClosed notes when the first FIN was passed on, or would have been.
func (r *relay) halfClosed() {
	if r.half.IsZero() {
		r.half = time.Now()
	}
}

// close closes both sides as their end demands, when both directions are over.
func (r *relay) close() {
	r.mu.Lock()
	r.timer.Stop()
	stopped, cut, kept := r.stopped, r.cut, r.kept
	r.stopped = true // for a check that is on its way already
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
	}()
	client, up := r.client.conn, r.upstream.conn
	switch {
	case cut:
		netconn.Reset(client)
		netconn.Reset(up)
	case r.client.broken.Load():
		netconn.ResetWhenSent(up, sentTime)
		netconn.Reset(client)
	case r.upstream.broken.Load():
		netconn.ResetWhenSent(client, sentTime)
		netconn.Reset(up)
	case kept && !r.upstream.ended.Load():
		client.Close()
		up.SetDeadline(time.Time{})
		r.base.upstream.pool.put(up, true)
	case stopped:
		part(client, up)
	default:
		client.Close()
		up.Close()
	}
}

// part closes two connections on which nothing moves, each with a FIN that it sees in
// any case; see netconn.Linger.
func part(client, up net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		netconn.Linger(up, lingerTime)
	}()
	netconn.Linger(client, lingerTime)
	<-done
}

func (r *relay) touch() { r.activity.Store(int64(time.Since(r.begin))) }

// watch starts the timer.
func (r *relay) watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(time.Hour, r.check)
	r.armLocked()
}

// due returns when the first time-out ends, and what it is called; zero if there is
// none. What has no name is the time to look again. Whether a side is written to is asked
// before; see write.
func (r *relay) due(writing bool) (at time.Time, why handler.Reason) {
	last := r.begin.Add(time.Duration(r.activity.Load()))
	earlier := func(limit time.Duration, since time.Time, reason handler.Reason) {
		if end := since.Add(limit); at.IsZero() || end.Before(at) {
			at, why = end, reason
		}
	}
	if limit := r.proxy.cfg.IdleTimeout; limit > 0 {
		earlier(limit, last, handler.ReasonIdleTimeout)
	}
	if limit := r.proxy.cfg.HalfCloseTimeout; limit > 0 && !r.half.IsZero() {
		earlier(limit, r.half, handler.ReasonHalfCloseTimeout)
	}
	resting := !r.resting.IsZero() && !r.upstream.ended.Load()
	if writing { // nobody tells when that is over, or that the one who sent it is gone
		look := sentTime
		if r.draining || resting || r.client.broken.Load() || r.upstream.broken.Load() {
			look = lookAgain
		}
		earlier(look, time.Now(), "")
		return at, why
	}
	if r.draining {
		earlier(r.proxy.cfg.drainQuiet(), last, handler.ReasonDrain)
	}
	if resting {
		since := r.resting
		if last.After(since) {
			since = last
		}
		earlier(r.proxy.cfg.Pool.rest(), since, handler.ReasonFIN)
	}
	return at, why
}

// writing reports whether a side is to take something.
func (r *relay) writing() bool { return r.client.writing.Load() || r.upstream.writing.Load() }

// unread reports whether something waits to be read. On a busy machine that may last for
// longer than the pause which says that nothing moves.
func (r *relay) unread() bool {
	waits := func(s *side) bool { return !s.ended.Load() && netconn.Unread(s.conn) }
	return waits(&r.client) || waits(&r.upstream)
}

// rouse has check called while a Write is in progress. For a side that is written to all
// the time, that is once in sentTime, and no call for each Write.
func (r *relay) rouse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armLocked()
}

// armLocked has check called when the first time-out ends.
func (r *relay) armLocked() {
	if r.timer == nil || r.stopped {
		return
	}
	r.asleep.Store(true) // first: a Write that begins now is seen here, or sees it
	writing := r.writing()
	r.asleep.Store(!writing)
	if at, _ := r.due(writing); at.IsZero() {
		r.timer.Stop()
	} else {
		r.timer.Reset(max(0, time.Until(at)))
	}
}

// check ends the link if a time-out is over.
func (r *relay) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	if !r.lookForReset(&r.upstream, &r.client) || !r.lookForReset(&r.client, &r.upstream) {
		r.stopLocked()
		return
	}
	if at, why := r.due(r.writing()); why != "" && time.Until(at) <= 0 {
		if (why == handler.ReasonFIN || why == handler.ReasonDrain) && r.unread() {
			r.timer.Reset(lookAgain) // it is the machine that is slow
			return
		}
		if why == handler.ReasonFIN {
			r.restedLocked()
			return
		}
		r.end(handler.ByServer, why, nil)
		r.cut = r.cut || why == handler.ReasonHalfCloseTimeout
		r.stopLocked()
		return
	}
	r.armLocked()
}

// lookForReset looks whether src is broken while it is not read from, as dst takes
// nothing. What was read of it is dst's, but not for ever: lookForReset reports false when
// dst has taken nothing for too long.
func (r *relay) lookForReset(dst, src *side) bool {
	if !dst.writing.Load() {
		return true
	}
	if !src.broken.Load() {
		err := netconn.Broken(src.conn)
		if err == nil {
			return true
		}
		r.brokeLocked(src, err)
		r.until = time.Time{}
	}
	now := time.Now()
	if taken := dst.written.Load() - int64(netconn.Unacknowledged(dst.conn)); taken != r.taken || r.until.IsZero() {
		r.taken, r.until = taken, now.Add(sentTime)
	}
	return now.Before(r.until)
}

// restedLocked gives the upstream up after its rest. The client has sent its FIN; what was
// read for it just now can still be written.
func (r *relay) restedLocked() {
	r.kept, r.stopped = true, true
	r.client.conn.SetWriteDeadline(time.Now().Add(sentTime))
	r.upstream.conn.SetReadDeadline(past)
}

// stopLocked interrupts both directions. Where something is still to be written, no
// FIN may say that it was.
func (r *relay) stopLocked() {
	r.cut = r.cut || r.writing()
	r.stopped = true
	r.client.conn.SetDeadline(past)
	r.upstream.conn.SetDeadline(past)
}

// leave implements link.
func (r *relay) leave() {
	r.proxy.links.Remove(r, func() {
		r.mu.Lock()
		record := r.record(r.client.conn.RemoteAddr(), r.client.read.Load(), r.client.written.Load())
		r.release()
		r.mu.Unlock()
		r.proxy.record(record)
	})
}

// Drain implements drain.Member.
func (r *relay) Drain() (busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	return r.timer == nil || r.writing() || time.Since(r.begin)-time.Duration(r.activity.Load()) < r.proxy.cfg.drainQuiet()
}

// Wake implements drain.Member.
func (r *relay) Wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armLocked()
}

// Cut implements drain.Member.
func (r *relay) Cut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.by = "" // a drain may have ended it, in vain
	r.end(handler.ByServer, handler.ReasonCut, nil)
	r.cut, r.stopped = true, true
	r.giveUp()
	netconn.Reset(r.client.conn)
	if r.upstream.conn != nil {
		netconn.Reset(r.upstream.conn)
	}
	return true
}
