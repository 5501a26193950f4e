package proxy

import (
	"time"

	"wireline/handler"
	"wireline/internal/eventloop"
)

// action is what a side has to do next.
type action uint8

const (
	actWait action = iota // for an event, or the timer

	// Any goroutine may do these.
	actWrite     // write to the other side what was read from this one, and call wrote
	actAskErr    // ask Err, and call askedErr
	actAskUnsent // add up Unsent of the sides that are not broken, and call askedUnsent

	// These are for the side's serving goroutine.
	actRead    // read once, and call received
	actLook    // the same with Look: no event has told of input
	actSendFIN // call sending, then CloseWrite, then sentFIN
	actDiscard // read once, throw that away, and call discarded
	actFinish  // have TLS send what it has queued, and call finished

	// So are these, which are the last. The driver calls left first.
	actClose   // close the connection
	actReset   // close it with a RST
	actRelease // give it back to its pool
)

// next says what side s has to do at now. It changes nothing.
func (x *wire) next(s sideID, now int64) action {
	me, other := x.sides[s], x.sides[s.other()]
	switch {
	case me.has(gone) || x.phase == connecting:
		return actWait
	case x.phase == closing:
		return x.howToClose(s, now)
	case x.phase == parting:
		return x.nextParting(s, now)
	}
	isPaused := x.paused(s)
	switch {
	case me.has(pending) && !other.has(full):
		return actWrite
	case x.owesFIN(s):
		return actSendFIN
	case isPaused && x.asksErr(s, now):
		return actAskErr
	case x.phase == resetting && other.has(broken) && now >= x.askAt:
		return actAskUnsent
	case isPaused:
	case me.has(broken):
		return actLook
	case me.has(unread):
		return actRead
	}
	return x.nextTimeout(s, now)
}

// nextTimeout says what is to be done before a timeout that has expired takes effect. Both
// sides are looked at, as the process may have been stopped while something arrived. For
// the idle timeout, the system is asked whether it still delivers something.
func (x *wire) nextTimeout(s sideID, now int64) action {
	at, why := x.deadline()
	switch {
	case at == 0 || now < at || why == handler.ReasonHalfCloseTimeout:
	case !x.paused(s) && !x.sides[s].has(looked):
		return actLook
	case why == handler.ReasonIdleTimeout && x.silent(at, now):
		return actAskUnsent
	}
	return actWait
}

// howToClose says how to close a side. It is closed when the connection has taken what TLS has
// queued, such as the close_notify.
func (x *wire) howToClose(s sideID, now int64) action {
	me := x.sides[s]
	switch {
	case x.fate == fateReset:
		return actReset
	case x.fate == fateReuse && s == upstreamSide:
		return actRelease
	case me.has(finished | broken):
		return actClose
	case !me.has(full):
		return actFinish
	case now >= x.askAt:
		return actAskUnsent
	}
	return actWait
}

func (x *wire) nextParting(s sideID, now int64) action {
	switch me := x.sides[s]; {
	case !me.has(finSent | broken):
		return actSendFIN
	case me.has(oneWay | ended | broken):
		return x.howToClose(s, now)
	case me.has(unread):
		return actDiscard
	}
	return actWait
}

// paused reports whether a side is not read from.
func (x *wire) paused(s sideID) bool {
	return x.sides[s].has(pending|ended) || x.sides[s.other()].has(broken)
}

// owesFIN reports whether the end of the other side's stream is to be passed on to s.
func (x *wire) owesFIN(s sideID) bool {
	me, from := x.sides[s], x.sides[s.other()]
	if x.phase != relaying || me.has(finSent|broken) || !from.has(ended) || from.has(pending|broken) {
		return false
	}
	return s == clientSide || x.quietSince == 0 || me.has(ended)
}

// asksErr reports whether a paused side is to be asked whether it is broken: its FIN was
// read, or it is not read from, and so no read tells.
func (x *wire) asksErr(s sideID, now int64) bool {
	me := x.sides[s]
	return !me.has(broken) && (me.has(suspect) || me.has(polled) && now >= x.askErrAt[s])
}

// errInterval is how often a polled side is asked.
func (x *wire) errInterval() int64 {
	if x.draining || x.quietSince != 0 || x.phase == resetting {
		return int64(soon)
	}
	return int64(sentTime)
}

// silent reports whether both sides have been looked at, as far as they are read from, since
// a timeout has expired at that time. It does not wait for them for longer than stuckTime
// after that was noticed.
func (x *wire) silent(at, now int64) bool {
	if x.askAt >= at && now >= x.askAt {
		return true
	}
	for s, f := range x.sides {
		if !x.paused(sideID(s)) && (f.has(unread) || !f.has(looked)) {
			return false
		}
	}
	return true
}

// notice notes that a timeout that has expired at that time was noticed. It reports whether
// the process was stopped, and the timeout has begun again.
func (x *wire) notice(at int64, why handler.Reason, now int64) (again bool) {
	if why == handler.ReasonHalfCloseTimeout && now-at > int64(eventloop.LateTimer) && !x.sides[clientSide].has(restarted) {
		x.halfClosed = now // once: the rest may follow as fast as it is read
		x.sides[clientSide] |= restarted
		return true
	}
	if x.askAt < at {
		x.askAt = now + int64(stuckTime)
	}
	return false
}

// deadline returns when the first timeout of a pair that relays expires, and its name;
// zero if none runs. FIN stands for the quiet time of an upstream that is to be reused.
func (x *wire) deadline() (at int64, why handler.Reason) {
	if x.phase != relaying {
		return 0, ""
	}
	if limit := x.idleLimit(); limit > 0 {
		at, why = eventloop.After(x.activity, limit), handler.ReasonIdleTimeout
		if x.sampled > x.activity {
			at = eventloop.After(x.sampled, limit/16)
		}
	}
	earlier := func(end int64, reason handler.Reason) {
		if at == 0 || end < at {
			at, why = end, reason
		}
	}
	if limit := x.cfg.HalfCloseTimeout; limit > 0 && x.halfClosed != 0 {
		earlier(eventloop.After(x.halfClosed, limit), handler.ReasonHalfCloseTimeout)
	}
	if x.quietSince != 0 && !x.sides[upstreamSide].has(ended|pending) {
		earlier(eventloop.After(max(x.quietSince, x.activity), x.cfg.Pool.reuseQuiet()), handler.ReasonFIN)
	}
	if x.draining && !x.anyPending() {
		earlier(x.quietAt(), handler.ReasonDrain)
	}
	return at, why
}

// idleLimit returns for how long no byte may move; zero if there is no limit.
func (x *wire) idleLimit() time.Duration {
	limit := x.cfg.idleTimeout()
	if half := x.cfg.halfCloseIdle(); x.halfClosed != 0 && half > 0 && (limit == 0 || half < limit) {
		limit = half
	}
	return limit
}

// quietAt returns when a pair that drains is quiet if nothing more moves: after drainQuiet. If
// the upstream owes a reply, that is not before drainReply has passed since the drain began, or
// since the request if that came later.
func (x *wire) quietAt() int64 {
	at := eventloop.After(x.activity, x.cfg.drainQuiet())
	if asked := x.until; x.phase == relaying && asked != 0 && !x.sides[upstreamSide].has(ended) {
		at = max(at, eventloop.After(asked, x.cfg.drainReply()))
	}
	return at
}

// tick has a timeout take effect that has expired. It reports whether one did.
func (x *wire) tick(now int64) bool {
	before := x.phase
	switch x.phase {
	case relaying:
		at, why := x.deadline()
		if at == 0 || now < at || x.notice(at, why, now) || why == handler.ReasonIdleTimeout { // see askedUnsent
			return false
		}
		if why == handler.ReasonHalfCloseTimeout || x.silent(at, now) {
			x.expire(why, now)
		}
	case parting:
		if now-x.until > int64(eventloop.LateTimer) { // so that what waits is discarded
			x.until = now + int64(lingerTime)
		} else if now >= x.until {
			x.close(now)
		}
	case closing:
		if x.fate != fateReset && now >= x.until && !x.anyFinishing() {
			x.fate = fateReset // ends what a serving goroutine waits for
			return true
		}
	}
	return x.phase != before
}

// expire ends the pair because of a timeout.
func (x *wire) expire(why handler.Reason, now int64) {
	switch why {
	case handler.ReasonFIN:
		x.fate = fateReuse
		x.close(now)
	case handler.ReasonHalfCloseTimeout:
		x.noteEnd(handler.ByServer, why, nil)
		x.fate, x.phase = fateReset, closing
	default:
		x.noteEnd(handler.ByServer, why, nil)
		x.part(now)
	}
}

// part ends a pair on which nothing moves. Each side sees a FIN in any case, also if it
// begins to send at this very moment, which would turn a close into a RST. Where bytes are
// still to be delivered, no FIN may say that they were.
func (x *wire) part(now int64) {
	if x.anyPending() {
		x.fate, x.phase = fateReset, closing
		return
	}
	x.phase, x.until, x.askAt = parting, now+int64(lingerTime), now
}

// close ends the pair with a FIN both ways.
func (x *wire) close(now int64) { x.phase, x.until, x.askAt = closing, now+int64(stuckTime), now }

// timer returns when next is to be asked again at the latest, which is after now; zero if
// no time is awaited.
func (x *wire) timer(now int64) (at int64) {
	earlier := func(end int64) {
		if at == 0 || end < at {
			at = end
		}
	}
	switch x.phase {
	case relaying:
		at, _ = x.deadline()
	case resetting:
		at = x.askAt
	case parting, closing:
		if x.phase == parting || x.fate != fateReset && (x.sides[clientSide]|x.sides[upstreamSide]).has(polled) {
			at = max(x.until, now+1)
		}
		if x.anyFinishing() {
			earlier(now + int64(soon))
		}
		return at
	default:
		return 0
	}
	for s, f := range x.sides {
		if f.has(polled) && !f.has(broken) && x.paused(sideID(s)) {
			earlier(x.askErrAt[s])
		}
	}
	if at != 0 && at <= now {
		at = now + int64(soon) // a side is still to be looked at
	}
	return at
}
