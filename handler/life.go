package handler

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	stdatomic "sync/atomic"
	"time"

	"wireline/internal/netconn"
)

// life is what a Client and a Conn have in common: who they are, what they have counted,
// and why they ended.
type life struct {
	accepted Accepted
	id       uint64
	begin    timestamp
	ending   stdatomic.Pointer[ending]

	// Of the standard library: go.uber.org/atomic aligns each to eight bytes, and an
	// idle client has little else.
	flags flags

	mu    sync.Mutex
	count counters // under mu
}

// counters are the figures of a Record.
type counters struct {
	bytesIn, bytesOut, framesIn, framesOut int64
}

// flags are what other goroutines ask of the serving goroutine, and what it tells them.
type flags struct{ stdatomic.Uint32 }

const (
	visible  uint32 = 1 << iota // OnOpen has set Value: others may see the client
	draining                    // the server stops: no further frame
	paused                      // Pause was called: read no more
	resumed                     // a pause has ended: timeouts run afresh
	inLoop                      // other clients wait while a frame is served
)

func (f *flags) has(bit uint32) bool { return f.Load()&bit != 0 }
func (f *flags) set(bit uint32)      { f.Or(bit) }

// clear reports whether bit was set before.
func (f *flags) clear(bit uint32) bool { return f.And(^bit)&bit != 0 }

// ending is who ended a connection and why. The first to say so is right: what fails
// after that is a consequence.
type ending struct {
	by     Party
	reason Reason
	err    error
	took   stdatomic.Int64 // a Duration: from begin until the connection was closed; zero until then
	mode   CloseMode       // if asked
	asked  bool            // CloseWith was called
}

// ID returns the connection's number: those of a handler count from 1.
func (l *life) ID() uint64 { return l.id }

// Context returns the connection's context. It ends when the server cuts its
// connections.
func (l *life) Context() context.Context { return l.accepted.Context() }

// RemoteAddr returns the client's end of the connection.
func (l *life) RemoteAddr() net.Addr { return l.accepted.RemoteAddr() }

// TLS returns what was agreed on in the TLS handshake; nil without TLS. It is the caller's
// own copy, but for the certificates, which must not be changed.
func (l *life) TLS() *tls.ConnectionState {
	conn := l.accepted.TLS()
	if conn == nil {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// end notes who ended the connection and why, if nobody did before.
func (l *life) end(by Party, reason Reason, err error) {
	if l.ending.Load() == nil {
		l.ending.CompareAndSwap(nil, &ending{by: by, reason: reason, err: err})
	}
}

// ended reports whether the connection has come to its end.
func (l *life) ended() bool { return l.ending.Load() != nil }

// stopping reports whether no further frame is to be begun.
func (l *life) stopping() bool { return l.flags.has(draining) || l.ended() }

// reason returns why the connection has ended; empty until then.
func (l *life) reason() Reason {
	if e := l.ending.Load(); e != nil {
		return e.reason
	}
	return ""
}

// endIO notes an end that a failed read or write tells of.
func (l *life) endIO(err error) {
	switch {
	case errors.Is(err, errWriteTimeout):
		l.end(ByServer, ReasonWriteTimeout, err)
	case errors.Is(err, errIdleTimeout):
		l.end(ByServer, ReasonIdleTimeout, err)
	case errors.Is(err, net.ErrClosed) && l.Context().Err() != nil:
		l.end(ByServer, ReasonCut, nil) // by the server, which does not know the client
	case errors.Is(err, net.ErrClosed):
		l.end(ByServer, ReasonClosed, nil)
	case netconn.IsReset(err):
		l.end(ByClient, ReasonReset, err)
	default:
		l.end(ByClient, ReasonIOError, err)
	}
}

// endCut notes that a drain took too long, also if the drain has ended the connection
// already and its last reply is still on its way. It reports false if the connection has a
// new owner, so that there is nothing to cut.
func (l *life) endCut() bool {
	e := l.ending.Load()
	switch {
	case e == nil:
		l.end(ByServer, ReasonCut, nil)
	case e.reason == ReasonHijacked:
		return false
	case e.reason == ReasonDrain:
		l.ending.CompareAndSwap(e, &ending{by: ByServer, reason: ReasonCut})
	}
	return true
}

// Record returns the connection's record as it is now. Until it has ended, By and Reason
// are empty.
func (l *life) Record() Record {
	end := l.ending.Load()
	took := time.Duration(0)
	if end == nil {
		end = new(ending)
	} else {
		took = time.Duration(end.took.Load())
	}
	l.mu.Lock()
	count := l.count
	l.mu.Unlock()
	if took == 0 {
		took = l.begin.elapsed()
	}
	return Record{
		ID:        l.id,
		Peer:      l.RemoteAddr(),
		Begin:     l.begin.time(),
		Duration:  took,
		BytesIn:   count.bytesIn,
		BytesOut:  count.bytesOut,
		FramesIn:  count.framesIn,
		FramesOut: count.framesOut,
		By:        end.by,
		Reason:    end.reason,
		Err:       end.err,
	}
}

// seal fixes the record of a connection that is closed.
func (l *life) seal() {
	l.end(ByServer, ReasonClosed, nil) // if nobody has said more
	l.ending.Load().took.Store(int64(l.begin.elapsed()))
}
