package tcp

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// cause says why clients are not served. It is in the log with the key cause.
type cause string

const (
	causeFull      cause = "max_clients"
	causeWaiting   cause = "max_clients_wait" // the server is full, and further clients wait
	causePerIP     cause = "max_clients_per_ip"
	causePerPrefix cause = "max_clients_per_prefix"
	causeDenied    cause = "denied"
	causeMemory    cause = "memory"
	causeHeader    cause = "proxy_header"
	causeUntrusted cause = "untrusted_peer"
	causeHandshake cause = "tls_handshake"
)

// message is the message of the lines about a cause.
func (c cause) message() string {
	switch c {
	case causeHandshake:
		return "TLS handshake failed"
	case causeWaiting:
		return "full, further clients wait"
	}
	return "refused"
}

// summaryEvery is the least time between two lines about the same cause.
const summaryEvery = 10 * time.Second

// refusals writes the lines about clients that are not served. The first client of a cause
// has a line at once; those that follow are counted, and a line says how many there were and
// which came last. Each is a line of its own at level debug. A cause that has had no client
// for summaryEvery starts again with a line at once.
//
// The zero value is ready to use once log is set. All methods are safe for concurrent use.
type refusals struct {
	log func() *slog.Logger

	mu      sync.Mutex
	tallies map[cause]*tally // those with a line in the last summaryEvery
	closed  bool
}

// tally counts the clients of a cause since its last line.
type tally struct {
	timer *time.Timer
	count int
	last  []slog.Attr // of the last client
}

// add notes a client that is not served. peer is its address; empty if it is not known.
func (r *refusals) add(c cause, peer string, more ...slog.Attr) {
	attrs := append([]slog.Attr{slog.String("peer", peer)}, more...)
	if peer == "" {
		attrs = more
	}
	if r.count(c, attrs) {
		r.write(slog.LevelInfo, c, 1, attrs)
	} else {
		r.write(slog.LevelDebug, c, 0, attrs)
	}
}

// count counts a client, and reports whether it is the first one, which has a line now.
func (r *refusals) count(c cause, attrs []slog.Attr) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tallies[c]; t != nil {
		t.count, t.last = t.count+1, attrs
		return false
	}
	if r.closed {
		return true
	}
	if r.tallies == nil {
		r.tallies = make(map[cause]*tally)
	}
	r.tallies[c] = &tally{timer: time.AfterFunc(summaryEvery, func() { r.summarize(c) })}
	return true
}

// summarize writes how many clients of a cause there were since its last line, if any.
func (r *refusals) summarize(c cause) {
	r.mu.Lock()
	t := r.tallies[c]
	if t == nil { // closed meanwhile
		r.mu.Unlock()
		return
	}
	count, last := t.count, t.last
	t.count, t.last = 0, nil
	if count == 0 {
		t.timer.Stop() // if flush has called
		delete(r.tallies, c)
	} else {
		t.timer.Reset(summaryEvery)
	}
	r.mu.Unlock()
	r.write(slog.LevelInfo, c, count, last)
}

// flush writes what is left now.
func (r *refusals) flush() {
	r.mu.Lock()
	causes := slices.Collect(maps.Keys(r.tallies))
	r.mu.Unlock()
	for _, c := range causes {
		r.summarize(c)
	}
}

// close writes what is left, and stops the timers.
func (r *refusals) close() {
	r.mu.Lock()
	tallies := r.tallies
	r.tallies, r.closed = nil, true
	r.mu.Unlock()
	for c, t := range tallies {
		t.timer.Stop()
		r.write(slog.LevelInfo, c, t.count, t.last)
	}
}

// write writes a line about count clients of a cause. At level info there is none about no
// client.
func (r *refusals) write(level slog.Level, c cause, count int, attrs []slog.Attr) {
	head := []slog.Attr{slog.String("cause", string(c))}
	if level == slog.LevelInfo {
		if count == 0 {
			return
		}
		head = append(head, slog.Int("count", count))
	}
	r.log().LogAttrs(context.Background(), level, c.message(), append(head, attrs...)...)
}
