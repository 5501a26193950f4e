package admin

import (
	"sync"
	"time"

	"wireline/handler"
)

// Rates are measured over a time of at least leastSpan. Samples older than mostSpan are of no
// use.
const (
	leastSpan = time.Second
	mostSpan  = 15 * time.Second
)

// connKey names a connection.
type connKey struct {
	service string
	id      uint64
}

// sample has the counts of all connections at one time.
type sample struct {
	at     time.Time
	counts map[connKey]handler.Counts
}

// rates knows what the connections had read and written a moment ago. It is asked, and learns,
// when somebody looks at the connections. If nobody has for mostSpan, it has forgotten all, and costs
// nothing.
type rates struct {
	now func() time.Time

	mu           sync.Mutex
	older, newer sample // the last two
}

func (r *rates) init() {
	if r.now == nil {
		r.now = time.Now
	}
}

// begin returns the sample to compare with, and where the counts of now belong: a nil map if the
// last sample is younger than leastSpan.
func (r *rates) begin() (before sample, counts map[connKey]handler.Counts, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now = r.now()
	if now.Sub(r.newer.at) < leastSpan {
		return r.older, nil, now
	}
	return r.newer, make(map[connKey]handler.Counts), now
}

// end keeps the counts of begin.
func (r *rates) end(counts map[connKey]handler.Counts, now time.Time) {
	if counts == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.newer.at) >= leastSpan { // no other request was faster
		r.older, r.newer = r.newer, sample{now, counts}
		time.AfterFunc(mostSpan, func() { r.forget(now) })
	}
}

// forget drops the samples, unless there is one that is newer than at.
func (r *rates) forget(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newer.at.Equal(at) {
		r.older, r.newer = sample{}, sample{}
	}
}

// Rate is what goes over a connection in a second.
type Rate struct {
	BytesIn   float64 `json:"bytes_in_per_s"`
	BytesOut  float64 `json:"bytes_out_per_s"`
	FramesIn  float64 `json:"frames_in_per_s"`
	FramesOut float64 `json:"frames_out_per_s"`
}

// of returns the rate of a connection since the sample, or since it began; nil if that is not
// known, because nobody has looked for a while.
func (s sample) of(key connKey, l handler.Live, now time.Time) *Rate {
	span := now.Sub(s.at)
	if span > mostSpan {
		if l.Duration > mostSpan {
			return nil
		}
		span = l.Duration // it is younger than the sample: its counts began at zero
	}
	before, known := s.counts[key]
	if !known {
		span = min(span, l.Duration)
	}
	seconds := max(span, leastSpan/2).Seconds()
	per := func(now, before int64) float64 { return float64(max(now-before, 0)) / seconds }
	return &Rate{
		BytesIn:   per(l.BytesIn, before.BytesIn),
		BytesOut:  per(l.BytesOut, before.BytesOut),
		FramesIn:  per(l.FramesIn, before.FramesIn),
		FramesOut: per(l.FramesOut, before.FramesOut),
	}
}
