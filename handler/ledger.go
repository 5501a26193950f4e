package handler

import (
	"iter"
	"maps"
	"slices"
	"sync"

	"wireline/lib/histogram"
)

// Counts are what a connection, or several, have read and written.
type Counts struct {
	BytesIn, BytesOut int64 // read from and written to the client

	// FramesIn counts the frames served, FramesOut the calls of Write and WriteFrame.
	// For a Conn, FramesIn is zero and FramesOut counts its calls of Write.
	FramesIn, FramesOut int64
}

// Add adds other to c.
func (c *Counts) Add(other Counts) {
	c.BytesIn += other.BytesIn
	c.BytesOut += other.BytesOut
	c.FramesIn += other.FramesIn
	c.FramesOut += other.FramesOut
}

// atLeast makes each of the counts at least that of other.
func (c *Counts) atLeast(other Counts) {
	c.BytesIn = max(c.BytesIn, other.BytesIn)
	c.BytesOut = max(c.BytesOut, other.BytesOut)
	c.FramesIn = max(c.FramesIn, other.FramesIn)
	c.FramesOut = max(c.FramesOut, other.FramesOut)
}

// Totals are what a handler has done since it was made.
type Totals struct {
	Counts        // of all connections, open ones too; they never fall
	Opened uint64 // connections that it was given

	// Ended counts the connections that have ended, by the party that ended them and the reason. Opened less all
	// of these is how many are open.
	Ended map[Cause]uint64

	// Durations are those of the connections that have ended, but for those that were refused.
	Durations histogram.Snapshot
}

// Cause is how a connection has ended, as its Record says.
type Cause struct {
	By     Party
	Reason Reason
}

// Open returns how many connections were open.
func (t Totals) Open() int {
	n := t.Opened
	for _, ended := range t.Ended {
		n -= ended
	}
	return int(n)
}

// lastKept is how many records a Ledger keeps.
const lastKept = 100

// Ledger adds up what the connections of a handler do, for metrics. Frames, Plain and
// proxy.Proxy keep one. So may a handler that holds connections in its own way. The zero value
// is empty and ready to use. All methods are safe for concurrent use.
type Ledger struct {
	mu        sync.Mutex // guards what follows
	opened    uint64
	counts    Counts // of those that have ended
	ended     map[Cause]uint64
	durations *histogram.Histogram // both are nil before the first use
	last      []Record             // up to lastKept, a ring
	next      int                  // in last: the oldest, if that is full

	totals sync.Mutex // orders calls of Totals; guards what follows
	former Counts     // of the last Totals
}

// Open notes a new connection.
func (l *Ledger) Open() {
	l.mu.Lock()
	l.opened++
	l.mu.Unlock()
}

// init makes what the zero value does not have. The caller holds mu.
func (l *Ledger) init() {
	if l.ended == nil {
		l.ended = make(map[Cause]uint64)
		l.durations = histogram.New(histogram.Lifetimes)
	}
}

// End notes that a connection has ended. It must not be among the open ones of Totals any more.
func (l *Ledger) End(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	l.counts.Add(r.Counts)
	l.ended[Cause{r.By, r.Reason}]++
	l.durations.Observe(r.Duration)
	if len(l.last) < lastKept {
		l.last = append(l.last, r)
	} else {
		l.last[l.next] = r
		l.next = (l.next + 1) % lastKept
	}
}

// Refuse notes the end of a connection that was refused because the handler drains. It counts as
// ended by the server, with ReasonDrain. As it was not served, it is neither in Last nor in
// Totals.Durations.
func (l *Ledger) Refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	l.ended[Cause{ByServer, ReasonDrain}]++
}

// Last returns the records of the connections that have ended last, the latest first: up to
// 100 of them.
func (l *Ledger) Last() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Concat(l.last[l.next:], l.last[:l.next])
	slices.Reverse(list)
	return list
}

// Totals returns the totals. open has the counts of the open connections. It is asked for them
// after the ended ones are added up. So a connection that ends meanwhile may be missing, but
// never counts twice; as long as one is missing, the counts are at least those of the call before.
func (l *Ledger) Totals(open iter.Seq[Counts]) Totals {
	l.totals.Lock()
	defer l.totals.Unlock()
	t := l.endedTotals()
	for c := range open {
		t.Counts.Add(c)
	}
	t.Counts.atLeast(l.former)
	l.former = t.Counts
	return t
}

// endedTotals returns the totals without the counts of open connections.
func (l *Ledger) endedTotals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	return Totals{Counts: l.counts, Opened: l.opened, Ended: maps.Clone(l.ended), Durations: l.durations.Snapshot()}
}
