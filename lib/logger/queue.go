package logger

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// queueSize bounds what waits in a queue, in bytes as capture estimates them.
	queueSize = 4 << 20

	// keptEntries is how many entries an empty queue has room for: a burst must not hold
	// its memory for ever.
	keptEntries = 256
)

// queue holds the records that wait for one handler. Records are added at any time; the
// goroutine of run writes them, and exists only while there are some.
type queue struct {
	base slog.Handler // writes the line about dropped records

	mu      sync.Mutex
	pending []entry
	size    int  // of all entries that are not written yet
	running bool // the goroutine exists

	// batch is what the goroutine writes now, at the index of the next entry.
	batch []entry
	at    int

	dropped uint64 // ever
	lost    uint64 // of these, those that no line has reported yet
	failure string // why a lost record could not be written; empty if there was no room
	mute    bool   // the line could not be written either: wait for a record that can

	added, finished uint64 // records, ever
	stuck           uint64 // finished+1 when a flush gave up; see flush
}

// entry is a record in a queue.
type entry struct {
	ctx     context.Context
	handler slog.Handler
	record  slog.Record
	size    int
	lost    uint64 // if not zero, the entry is the line that reports so many lost records
}

// room is how many bytes may wait when a record of this level is added.
func room(level slog.Level) int {
	switch {
	case level < slog.LevelInfo:
		return queueSize / 2
	case level < slog.LevelWarn:
		return queueSize / 4 * 3
	}
	return queueSize
}

// add queues e, or drops it if there is no room. The first record finds room however large
// it is.
func (q *queue) add(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size > 0 && q.size+e.size > room(e.record.Level) {
		q.lose(1)
		return
	}
	q.size += e.size
	q.added++
	q.pending = append(q.pending, e)
	if !q.running {
		q.running = true
		go q.run()
	}
}

// lose counts n records that will not be written.
func (q *queue) lose(n uint64) {
	q.dropped += n
	q.lost += n
}

// run writes until nothing is left. A handler that panics, or ends the goroutine, costs the
// record that it was given.
func (q *queue) run() {
	completed := false
	defer func() {
		if !completed {
			q.finish(q.current(), fmt.Errorf("log handler panicked: %v", recover()))
			go q.run()
		}
	}()
	for {
		e, ok := q.next()
		if !ok {
			break
		}
		q.finish(e, e.handler.Handle(e.ctx, e.record))
	}
	completed = true
}

// next returns the next entry to write. It reports false if there is none: then the
// goroutine ends.
func (q *queue) next() (entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.at == len(q.batch) {
		q.turn()
	}
	if q.at == len(q.batch) {
		q.rest()
		return entry{}, false
	}
	q.at++
	return q.batch[q.at-1], true
}

// current returns the entry that next has returned last.
func (q *queue) current() entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.batch[q.at-1]
}

// turn makes the pending entries the batch. Before them comes the line about lost records,
// if there are any: the batch before was written, so writing works.
func (q *queue) turn() {
	clear(q.batch)
	q.batch, q.pending, q.at = q.pending, q.batch[:0], 0
	if q.lost == 0 || q.mute {
		return
	}
	if q.base.Enabled(context.Background(), slog.LevelWarn) {
		q.batch = slices.Insert(q.batch, 0, q.lostLine())
	} else {
		q.lost, q.failure = 0, ""
	}
}

// lostLine is the line that reports lost records.
func (q *queue) lostLine() entry {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log records dropped", 0)
	r.AddAttrs(slog.Uint64("count", q.lost))
	if q.failure != "" {
		r.AddAttrs(slog.String("err", q.failure))
	}
	return entry{ctx: context.Background(), handler: q.base, record: r, lost: q.lost}
}

// rest ends the goroutine's work.
func (q *queue) rest() {
	q.running = false
	if cap(q.pending) > keptEntries {
		q.pending = nil
	}
	if cap(q.batch) > keptEntries {
		q.batch, q.at = nil, 0
	}
}

// finish notes that e was written, or why it was not.
func (q *queue) finish(e entry, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batch[q.at-1] = entry{}
	q.size -= e.size
	line := e.lost > 0
	if !line {
		q.finished++
	}
	switch {
	case err != nil && line:
		q.mute = true
	case err != nil:
		q.lose(1)
		q.failure = err.Error()
	case line:
		q.lost -= e.lost
		if q.lost == 0 {
			q.failure = ""
		}
	default:
		q.mute = false
	}
}

// total is how many records were dropped.
func (q *queue) total() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// goal is what flush waits for: the records that were added until now.
func (q *queue) goal() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.added
}

// flushed reports whether so many records are written, and the line about lost ones. If not,
// hopeless says that an earlier flush has given up, and that no record was written since.
func (q *queue) flushed(goal uint64) (done, hopeless bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	done = !q.running || q.finished >= goal && (q.lost == 0 || q.mute)
	return done, q.stuck == q.finished+1
}

// giveUp notes that a flush has waited in vain.
func (q *queue) giveUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stuck = q.finished + 1
}
