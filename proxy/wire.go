package proxy

import (
	"errors"
	"io"
	"syscall"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
)

const (
	// sentTime is how long a reset waits while none of the bytes before it are taken. It
	// is also how often a connection is asked whether it is broken, where no event tells.
	sentTime = time.Second

	// soon is the same interval where the pair is about to end, and a safety net for a
	// timeout that waits until a side has been looked at.
	soon = 20 * time.Millisecond

	// unsentEvery is how often a reset asks the system how much is still to be delivered:
	// no event tells.
	unsentEvery = 5 * time.Millisecond

	// stuckTime is how long a serving goroutine may take to do what it has to do for a
	// timeout or a close. Under TLS it may wait in a Read that has to answer the peer.
	stuckTime = time.Second

	// finishTime is how long a side that is to be closed may take none of what TLS has queued,
	// such as the close_notify; in a drain it is lingerTime.
	finishTime = 10 * time.Second

	// lingerTime is how long the sides of a pair that the proxy has closed are read from,
	// so that what a side is sending at that moment does not turn its FIN into a RST.
	lingerTime = 500 * time.Millisecond

	// closedTime is how soon after a FIN a reset says that a side has closed its connection.
	closedTime = time.Second
)

// phase is how far a pair has come.
//
//	connecting -> relaying   an upstream was reached
//	           -> closing    abort
//	           -> closed     no upstream was reached
//	relaying   -> resetting  one side is broken
//	           -> parting    a timeout has expired
//	           -> closing    both FINs were passed on, or abort, or both sides are broken
//	resetting  -> closing    everything is delivered, or nothing is taken, or abort
//	parting    -> closing    lingerTime has passed, or abort
//	           -> closed     both sides have ended, and are closed
//	closing    -> closed     both sides are closed
type phase uint8

const (
	connecting phase = iota // there is no upstream yet
	relaying
	resetting // one side is broken; the other takes all that came before, and is reset
	parting   // both sides get a FIN from the proxy, and may still be sending
	closing   // both sides are to be closed
	closed
)

// sideID is an index of a pair's sides.
type sideID uint8

const (
	clientSide sideID = iota
	upstreamSide
)

func (s sideID) other() sideID { return 1 - s }

func (s sideID) party() handler.Party {
	if s == clientSide {
		return handler.ByClient
	}
	return handler.ByUpstream
}

// flags say what is known about a side.
type flags uint16

const (
	unread    flags = 1 << iota // there may be something to read
	hangup                      // the end of the stream, or an error, is there to be read
	suspect                     // an event has told of an end, and Err was not asked since
	polled                      // no event tells of a reset while the side is paused
	looked                      // Look has found nothing, and nothing has happened since
	pending                     // something was read, and is not written to the other side yet
	full                        // the connection takes no more for now
	ended                       // the end of the stream was read
	answered                    // it has sent no byte since something was written to it
	finSent                     // the end of the other side's stream was passed on
	oneWay                      // one direction cannot be closed without the other
	broken                      // the connection was reset, or has failed otherwise
	finishing                   // TLS has something queued, which the connection is to take before it is closed
	finished                    // nothing is queued, or the wait for that is over
	gone                        // it is closed, or back in its pool
	restarted                   // of the client's side: the half-close timeout has begun again after a stop
)

func (f flags) has(any flags) bool { return f&any != 0 }

// wire decides what a pair does: it is the state of two connections that are to behave
// as one. It does no I/O. Its driver asks next what a side has to do, does that, and
// tells the outcome. Times are nanoseconds of one clock.
type wire struct {
	cfg      *Config
	phase    phase
	draining bool
	lastUp   bool // the last bytes that were read are the upstream's
	fate     fate
	sides    [2]flags

	activity   int64    // the last byte either way
	halfClosed int64    // when the first FIN was passed on, or would have been; or zero
	quietSince int64    // when the client has left an upstream that is to be reused; or zero
	askErrAt   [2]int64 // when a polled side is asked

	// askAt is when resetting, or a side that is finishing, asks for the unsent bytes. While
	// relaying it is until when a timeout that has expired waits for a look at the sides.
	askAt int64

	// until is when parting or closing is over, or resetting if nothing is taken. While
	// relaying, which has no such end, it is when the upstream began to owe the client a
	// reply, or zero: see noteAsked. A pair has no room for another word.
	until int64

	// How many bytes the system and TLS had not delivered when they were last asked. sampled is
	// when the idle timeout has asked, or zero; of sides that are finishing, when they have last
	// taken something.
	unsent  int
	sampled int64

	end *ending // nil while nobody has ended the pair
}

// fate says what becomes of the connections when the pair is over.
type fate uint8

const (
	fateClose fate = iota // both are closed
	fateReset             // both are closed with a RST
	fateReuse             // the upstream's goes back to its pool, the client's is closed
)

// ending says who ended a pair, and why.
type ending struct {
	by     handler.Party
	reason handler.Reason
	err    error
}

// start tells that there is an upstream.
func (x *wire) start(now int64) { x.phase, x.activity = relaying, now }

// arrived tells of an event: there may be input, or, with hup, an end.
func (x *wire) arrived(s sideID, in, hup bool) {
	f := &x.sides[s]
	if in || hup {
		*f = *f&^looked | unread
	}
	if hup {
		*f |= hangup | suspect
	}
}

// writable tells that a side takes more.
func (x *wire) writable(s sideID) { x.sides[s] &^= full }

// received tells the outcome of actRead or actLook. It reports whether the bytes are to be
// written to the other side; otherwise they are dropped.
func (x *wire) received(s sideID, looking bool, n int, drained bool, err error, now int64) bool {
	if x.phase > resetting {
		return false
	}
	f := &x.sides[s]
	// A hangup had an event of its own, and none follows: the end is still to be read.
	switch {
	case !drained && err == nil: // also after a Look that no event has preceded
		*f |= unread
	case drained && (n == 0 || !f.has(hangup)):
		*f &^= unread
	}
	if n > 0 && !x.sides[s.other()].has(broken) {
		x.moved(now)
		x.noteAsked(s, now)
		*f = *f&^answered | pending
		return true
	}
	switch {
	case err == io.EOF:
		*f |= ended
	case err != nil:
		x.breaks(s, err, now)
		*f |= ended
	case drained && f.has(broken): // all that the side had sent is read
		*f |= ended
	case drained && looking:
		*f |= looked
		return false
	default:
		return false
	}
	x.askErrAt[s] = now + x.errInterval()
	x.conclude(now)
	return false
}

// wrote tells the outcome of actWrite for what was read from side s: n bytes were taken,
// and left tells that not all were.
func (x *wire) wrote(s sideID, n int, left bool, err error, now int64) {
	f, to := &x.sides[s], &x.sides[s.other()]
	if n > 0 {
		x.moved(now)
		*to |= answered
	}
	switch {
	case err != nil:
		x.breaks(s.other(), err, now)
	case left:
		*to |= full
		x.askErrAt[s] = now + x.errInterval()
		return
	default:
		*f &^= pending
		if x.phase == relaying && !f.has(ended) {
			return
		}
	}
	x.conclude(now)
}

// noteAsked notes whose bytes were read. The upstream owes a reply to those of the client.
func (x *wire) noteAsked(s sideID, now int64) {
	x.lastUp = s == upstreamSide
	switch {
	case x.phase != relaying:
	case x.lastUp:
		x.until = 0
	case x.until == 0:
		x.until = now
	}
}

func (x *wire) moved(now int64) {
	x.activity = now
	if x.phase == relaying {
		x.askAt = 0
	}
	x.sides[clientSide] &^= looked
	x.sides[upstreamSide] &^= looked
}

// sending tells that actSendFIN is being carried out.
func (x *wire) sending(s sideID) { x.sides[s] |= finSent }

// sentFIN tells the outcome of actSendFIN.
func (x *wire) sentFIN(s sideID, err error, now int64) {
	switch {
	case x.phase > parting:
	case errors.Is(err, errors.ErrUnsupported):
		x.sides[s] |= oneWay
		if x.phase == relaying {
			x.part(now)
		}
	case err != nil && !errors.Is(err, syscall.ENOTCONN): // which follows what Err tells
		x.breaks(s, err, now)
	}
	x.conclude(now)
}

// discarded tells the outcome of actDiscard.
func (x *wire) discarded(s sideID, n int, drained bool, err error) {
	f := &x.sides[s]
	if drained && (n == 0 || !f.has(hangup)) {
		*f &^= unread
	}
	if err != nil {
		*f |= ended
	}
}

// askedErr tells the outcome of actAskErr.
func (x *wire) askedErr(s sideID, err error, now int64) {
	x.sides[s] &^= suspect
	x.askErrAt[s] = now + x.errInterval()
	if err != nil {
		x.breaks(s, err, now)
		x.conclude(now)
	}
}

// askedUnsent tells the outcome of actAskUnsent.
func (x *wire) askedUnsent(n int, now int64) {
	switch x.phase {
	case relaying:
		x.sampleIdle(n, now)
	case parting, closing:
		x.sampleFinish(n, now)
	case resetting:
		from := x.brokenSide()
		if n != x.unsent {
			x.unsent, x.until = n, now+int64(sentTime)
		}
		x.askAt = now + int64(unsentEvery)
		f := x.sides[from]
		delivered := f.has(ended) && !f.has(pending) && n == 0
		if delivered || now >= max(x.until, x.activity+int64(sentTime)) {
			x.phase = closing
		}
	}
}

// finished tells the outcome of actFinish. left tells that TLS has something queued.
func (x *wire) finished(s sideID, left bool, now int64) {
	f := &x.sides[s]
	if left {
		*f |= finishing | full
		x.unsent, x.sampled, x.askAt = -1, now, now
		return
	}
	*f = *f&^finishing | finished
	if x.phase == closing {
		x.until = max(x.until, now+int64(stuckTime))
	}
}

// sampleFinish is called while sides are finishing. It gives up when none of them has taken
// something for too long.
func (x *wire) sampleFinish(n int, now int64) {
	if n != x.unsent {
		x.unsent, x.sampled = n, now
	}
	x.askAt = now + int64(soon)
	limit := finishTime
	if x.draining {
		limit = lingerTime
	}
	if now < x.sampled+int64(limit) {
		return
	}
	for s, f := range x.sides {
		if f.has(finishing) {
			x.finished(sideID(s), false, now)
		}
	}
}

// anyFinishing reports whether a side is finishing.
func (x *wire) anyFinishing() bool {
	return (x.sides[clientSide] | x.sides[upstreamSide]).has(finishing)
}

// sampleIdle is called when the idle timeout has expired. The system may still be
// delivering what it was given; of that, no event tells until a good part is delivered.
// While it makes progress, the pair is not idle. Where nothing is delivered, the pair gets
// a sixteenth of the timeout.
func (x *wire) sampleIdle(n int, now int64) {
	before, again := x.unsent, x.sampled > x.activity
	x.unsent, x.sampled, x.askAt = n, now, 0
	x.sides[clientSide] &^= looked
	x.sides[upstreamSide] &^= looked
	switch {
	case again && n == before, !again && n == 0 && !x.anyPending(): // if something waits, there may be room for it
		x.expire(handler.ReasonIdleTimeout, now)
	case again:
		x.activity = now
	}
}

// left tells that a side is closed, or about to be.
func (x *wire) left(s sideID) {
	x.sides[s] = x.sides[s]&^finishing | gone
	if x.sides[s.other()].has(gone) {
		x.phase = closed
	}
}

// await has the client of a pair that drains send its first bytes until that time.
func (x *wire) await(until int64) {
	x.activity = max(x.activity, until-int64(x.cfg.drainQuiet()))
}

// drain ends the pair as soon as it is quiet. It reports whether the pair is busy until then.
func (x *wire) drain(now int64) (busy bool) {
	x.draining = true
	if x.phase == relaying && x.until != 0 { // the time for a reply begins now
		x.until = now
	}
	for s := range x.askErrAt {
		x.askErrAt[s] = min(x.askErrAt[s], now+int64(soon))
	}
	return x.phase == connecting || x.anyPending() || now < x.quietAt()
}

// abort resets both sides. why and err are for the record. It reports false if they are closed.
func (x *wire) abort(why handler.Reason, err error) bool {
	if x.phase == closed {
		return false
	}
	x.end = nil // a drain may have ended it, in vain
	x.noteEnd(handler.ByServer, why, err)
	x.fate, x.phase = fateReset, closing
	return true
}

// breaks notes that a connection is broken. Nobody takes what waits for it.
func (x *wire) breaks(s sideID, err error, now int64) {
	x.sides[s] = x.sides[s]&^suspect | broken
	x.sides[s.other()] &^= pending
	switch {
	case !netconn.IsReset(err):
		x.noteEnd(s.party(), handler.ReasonIOError, err)
	case x.hasClosed(s, err, now):
		x.noteEnd(s.party(), handler.ReasonFIN, nil)
	default:
		x.noteEnd(s.party(), handler.ReasonReset, err)
	}
}

// hasClosed reports whether a reset only says that the side has closed its connection, within a
// moment of a FIN. After its own FIN, its system answers what arrives with a reset: as a rule that is
// the other side's close_notify, which may be on its way when the FIN comes. If it had not read
// the close_notify before that came with the other side's FIN, there is a reset and no FIN.
// EPIPE tells of a reset after a FIN (tcp_reset in Linux's net/ipv4/tcp_input.c).
func (x *wire) hasClosed(s sideID, err error, now int64) bool {
	f := x.sides[s]
	switch {
	case x.end == nil:
		return errors.Is(err, syscall.EPIPE)
	case x.end.reason != handler.ReasonFIN || now >= x.halfClosed+int64(closedTime):
		return false
	case f.has(pending): // the other side may not take what came before
		return false
	}
	return f.has(answered) && (f.has(ended|finSent) || errors.Is(err, syscall.EPIPE))
}

// noteEnd notes who ended the pair and why. The first end counts: what fails after it is a
// consequence. But a FIN ends one direction only, and the other may come to a worse end.
func (x *wire) noteEnd(by handler.Party, why handler.Reason, err error) {
	if x.end == nil || x.end.reason == handler.ReasonFIN && why != handler.ReasonFIN {
		x.end = &ending{by, why, err}
	}
}

// conclude moves on if a direction, or a side, has come to its end.
func (x *wire) conclude(now int64) {
	c, u := x.sides[clientSide], x.sides[upstreamSide]
	switch {
	case x.phase > resetting:
		return
	case c&u&broken != 0: // nobody is there to take anything
		x.fate, x.phase = fateReset, closing
		return
	case x.phase == relaying && (c | u).has(broken):
		x.fate, x.phase = fateReset, resetting
		x.unsent, x.until = -1, now+int64(sentTime)
	case x.phase == relaying:
		x.concludeFINs(now)
	}
	x.askAt = now
}

func (x *wire) concludeFINs(now int64) {
	c, u := x.sides[clientSide], x.sides[upstreamSide]
	if c&u&finSent != 0 {
		x.close(now)
		return
	}
	for s, f := range x.sides {
		if f.has(ended) && !f.has(pending) {
			x.noteEnd(sideID(s).party(), handler.ReasonFIN, nil)
			if x.halfClosed == 0 {
				x.halfClosed = now
			}
		}
	}
	// An upstream that can be reused, as the last word was its own, is not told of the
	// client's FIN.
	if c.has(ended) && !c.has(pending) && !u.has(finSent|ended) && x.cfg.Pool.Reuse &&
		x.lastUp && !x.draining && x.quietSince == 0 {
		x.quietSince = now
	}
}

// anyPending reports whether something was read that is not written yet.
func (x *wire) anyPending() bool { return (x.sides[clientSide] | x.sides[upstreamSide]).has(pending) }

// brokenSide is the side that is broken, of a pair that is resetting.
func (x *wire) brokenSide() sideID {
	if x.sides[clientSide].has(broken) {
		return clientSide
	}
	return upstreamSide
}
