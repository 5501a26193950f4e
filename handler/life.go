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
	"wireline/internal/probe"
	"wireline/internal/timestamp"
	"wireline/internal/transport"
)

// life is the common part of Client and Conn: identity, counters, and how the
// connection ended.
type life struct {
	accepted Accepted
	id       uint64
	begin    timestamp.Time
	ending   stdatomic.Pointer[ending]

	// sync/atomic instead of go.uber.org/atomic, which aligns each value to eight
	// bytes: an idle client consists of little else.
	flags flags

	mu    sync.Mutex
	count Counts // under mu
}

// flags are requests to the serving goroutine, and facts that it tells other
// goroutines.
type flags struct{ stdatomic.Uint32 }

const (
	visible   uint32 = 1 << iota // OnOpen has returned: Value is set, and other goroutines may see the client
	draining                     // the server is shutting down: serve no further frame
	paused                       // Pause was called: read nothing
	resumed                      // a pause has ended: restart the timeouts
	inLoop                       // the client is served on an event loop: other clients wait while a frame is served
	upgrading                    // StartTLS was called, and its handshake is not over
	holding                      // Hold was called, and not every hold is released
	crowded                      // there are MaxInFlight holds: read nothing; never without holding
	released                     // the last release is to wake the serving goroutine
	observed                     // Context was called
	relieved                     // the last hold was released: ReadTimeout and FirstFrameTimeout begin again
	pinged                       // OnIdle was called since something was read
	retired                      // MaxLifetime is over: serve no further frame
	renewed                      // there is a ReadTimeout where there was none: it counts from the last activity
)

// leaving has the flags that say that the client is to end, after what is in flight.
const leaving = draining | retired

func (f *flags) has(bit uint32) bool { return f.Load()&bit != 0 }
func (f *flags) set(bit uint32)      { f.Or(bit) }

// clear clears bit and reports whether it was set.
func (f *flags) clear(bit uint32) bool { return f.And(^bit)&bit != 0 }

// ending says who ended a connection and why. Only the first one counts: later failures
// are consequences of it.
type ending struct {
	by     Party
	reason Reason
	err    error
	took   stdatomic.Int64 // time.Duration from begin until the connection was closed; zero until then
	mode   CloseMode       // valid if asked is set
	asked  bool            // CloseWith was called
}

// ID returns the number of the connection. A handler numbers its connections from 1.
func (l *life) ID() uint64 { return l.id }

// Accepted returns what Accept got for this connection: a server that passes an Accepted of its own
// finds it here again. Only methods that any goroutine may call may be used.
func (l *life) Accepted() Accepted { return l.accepted }

// Context returns the context of the connection. It ends when the server cuts its
// connections or has stopped.
func (l *life) Context() context.Context { return l.accepted.Context() }

// RemoteAddr returns the address of the client.
func (l *life) RemoteAddr() net.Addr { return l.accepted.RemoteAddr() }

// TLS returns the state of the TLS connection; nil without TLS, or before the end of the
// handshake. It does not wait. The caller owns the result, but must not change the certificates.
func (l *life) TLS() *tls.ConnectionState {
	conn := l.accepted.TLS()
	if conn == nil {
		return nil
	}
	if state, ok := transport.State(conn); ok {
		return &state
	}
	return nil
}

// end records who ended the connection and why. It does nothing if the connection has
// already ended.
func (l *life) end(by Party, reason Reason, err error) {
	if l.ending.Load() == nil {
		l.ending.CompareAndSwap(nil, &ending{by: by, reason: reason, err: err})
	}
}

// ended reports whether the connection has ended.
func (l *life) ended() bool { return l.ending.Load() != nil }

// stopping reports whether no further frame may be served.
func (l *life) stopping() bool { return l.flags.has(leaving) || l.ended() }

// reason returns why the connection ended, or "" if it has not.
func (l *life) reason() Reason {
	if e := l.ending.Load(); e != nil {
		return e.reason
	}
	return ""
}

// endIO ends the connection because a read or write failed with err.
func (l *life) endIO(err error) { l.end(l.explainIO(err)) }

// explainIO returns who has ended a connection, and why, of which a read or write has failed
// with err, and the error for the record.
func (l *life) explainIO(err error) (Party, Reason, error) {
	switch {
	case errors.Is(err, errWriteTimeout):
		return ByServer, ReasonWriteTimeout, err
	case errors.Is(err, errIdleTimeout):
		return ByServer, ReasonIdleTimeout, err
	case errors.Is(err, net.ErrClosed) && l.Context().Err() != nil:
		return ByServer, ReasonCut, nil // the server closed the connection itself
	case errors.Is(err, net.ErrClosed):
		return ByServer, ReasonClosed, nil
	case errors.Is(err, transport.ErrProtocol):
		return ByClient, ReasonTLS, err
	case netconn.IsReset(err):
		return ByClient, ReasonReset, err
	}
	return ByClient, ReasonIOError, err
}

// endCut ends the connection because the drain timeout has expired. It also replaces
// the reason of a connection that the drain has ended but whose last reply is still
// pending. It reports false if there is nothing to cut: the connection was hijacked, or it
// is closed already.
func (l *life) endCut() bool {
	e := l.ending.Load()
	switch {
	case e == nil:
		l.end(ByServer, ReasonCut, nil)
	case e.reason == ReasonHijacked, e.took.Load() != 0:
		return false
	case e.reason == ReasonDrain:
		l.ending.CompareAndSwap(e, &ending{by: ByServer, reason: ReasonCut})
	}
	return true
}

// Record returns the current record of the connection. Until the connection has ended,
// By and Reason are empty.
func (l *life) Record() Record {
	end := l.ending.Load()
	took := time.Duration(0)
	if end == nil {
		end = new(ending)
	} else {
		took = time.Duration(end.took.Load())
	}
	count := l.counts()
	if took == 0 {
		took = l.begin.Elapsed()
	}
	return Record{
		ID:       l.id,
		Peer:     l.RemoteAddr(),
		TLS:      NewTLSInfo(l.accepted.TLS()),
		Begin:    l.begin.Time(),
		Duration: took,
		Counts:   count,
		Probe:    probe.Is(l.accepted, count.BytesIn+count.BytesOut, end.by == ByClient),
		By:       end.by,
		Reason:   end.reason,
		Err:      end.err,
	}
}

// counts returns what the connection has read and written.
func (l *life) counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// seal fixes the end and the duration in the record of a closed connection.
func (l *life) seal() {
	l.end(ByServer, ReasonClosed, nil) // no effect if there is a reason already
	l.ending.Load().took.Store(int64(l.begin.Elapsed()))
}
