package proxy

import (
	"net"
	"time"

	"wireline/handler"
	"wireline/internal/netconn"
)

const (
	// lingerTime is how long a pair that was closed by the proxy is read from, so
	// that what a side is just sending does not make a reset of its FIN.
	lingerTime = 500 * time.Millisecond

	// lookAgain is after how long a link that is to end is looked at again, if it
	// cannot be said when it may.
	lookAgain = 20 * time.Millisecond

	// sentTime is how long a reset waits while none of the bytes before it are taken.
	// It is also how often it is looked at who waits for the other side to take something
	// on the goroutine path.
	sentTime = time.Second

	// bufferSize is how much is copied at once.
	bufferSize = 32 << 10
)

// link is a client with its upstream, however it is relayed.
type link interface {
	// As of drain.Member.
	Drain() (busy bool)
	Wake()
	Cut() bool

	leave() // the set, with a record; once
}

// base is what every link has. Its fields are under the lock of who embeds it.
type base struct {
	proxy    *Proxy
	id       uint64
	begin    time.Time
	upstream *upstream // nil until there is one
	tried    string    // the last that was tried, where there is none

	by     handler.Party // who ended it, empty as long as nobody did
	reason handler.Reason
	err    error
}

func newBase(x *Proxy) base {
	return base{proxy: x, id: x.lastID.Add(1), begin: time.Now()}
}

// end notes who ended the link and why. The first to say so is right: what fails
// after that is a consequence. But a FIN ends one direction only, and the other may
// yet come to a worse end.
func (b *base) end(by handler.Party, why handler.Reason, err error) {
	if b.by == "" || b.reason == handler.ReasonFIN && why != handler.ReasonFIN {
		b.by, b.reason, b.err = by, why, err
	}
}

// endIO notes the end that a failed read from, or write to, a side is.
func (b *base) endIO(by handler.Party, err error) {
	why := handler.ReasonIOError
	if netconn.IsReset(err) {
		why = handler.ReasonReset
	}
	b.end(by, why, err)
}

// reach notes the upstream that was found.
func (b *base) reach(u *upstream) {
	b.upstream = u
	u.connections.Add(1)
}

// fail notes that none was.
func (b *base) fail(r reached, err error) {
	if r.upstream != nil {
		b.tried = r.upstream.name
	}
	b.end(handler.ByServer, handler.ReasonNoUpstream, err)
}

// record is the link's record; bytes are counted as the client sees them.
func (b *base) record(peer net.Addr, in, out int64) handler.Record {
	if b.by == "" {
		b.end(handler.ByServer, handler.ReasonClosed, nil)
	}
	r := handler.Record{
		ID:       b.id,
		Peer:     peer,
		Begin:    b.begin,
		Duration: time.Since(b.begin),
		BytesIn:  in,
		BytesOut: out,
		Upstream: b.tried,
		By:       b.by,
		Reason:   b.reason,
		Err:      b.err,
	}
	if b.upstream != nil {
		r.Upstream = b.upstream.name
	}
	return r
}

// release ends the upstream's count of the link.
func (b *base) release() {
	if b.upstream != nil {
		b.upstream.active.Add(-1)
	}
}
