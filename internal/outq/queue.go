// Package outq has the bytes that wait to be sent on one connection. It does no I/O and
// has no lock: whoever owns the connection calls it.
package outq

// keep is the largest buffer, in bytes, that Reset keeps.
const keep = 64 << 10

// Queue is a queue of bytes with counts of what went in and out. The zero value is empty
// and ready.
//
// It has two buffers: one is being sent while messages join the other.
type Queue struct {
	pending []byte // to be sent after sending
	sending []byte // being sent, from done on
	done    int

	added, sent int64 // since Reset
	mark        int64 // added when Mark was called last
}

// Size is how many bytes are to be sent.
func (q *Queue) Size() int { return int(q.added - q.sent) }

// Added is how many bytes were added since Reset.
func (q *Queue) Added() int64 { return q.added }

// Sent is how many bytes were sent since Reset.
func (q *Queue) Sent() int64 { return q.sent }

// Add appends a copy of p.
func (q *Queue) Add(p []byte) {
	q.pending = append(q.pending, p...)
	q.added += int64(len(p))
}

// Tail returns the buffer that messages are appended to, for a caller that appends to
// it by itself and hands the result to Grown.
func (q *Queue) Tail() []byte { return q.pending }

// Grown takes the slice that came of appending to Tail, and returns how many bytes that
// were.
func (q *Queue) Grown(tail []byte) (n int) {
	n = len(tail) - len(q.pending)
	q.pending = tail
	q.added += int64(n)
	return n
}

// Head returns the bytes that are to be sent next; empty if there are none. They stay
// the same, in order, until they are sent. The slice is valid until the next call of
// Take, Through or Reset.
func (q *Queue) Head() []byte {
	if q.done == len(q.sending) {
		q.sending, q.pending, q.done = q.pending, q.sending[:0], 0
	}
	return q.sending[q.done:]
}

// Take notes that n bytes were sent. They are more than Head holds if the connection had
// copied what follows Head as well, when Through was called.
func (q *Queue) Take(n int) {
	q.sent += int64(n)
	if head := len(q.sending) - q.done; n > head {
		q.sending, q.pending, q.done = q.pending, q.sending[:0], n-head
		return
	}
	q.done += n
}

// Through sends a message behind Head without copying it: Through notes that n bytes of
// Head and the parts together were sent, and copies what is left of the parts. The queue
// must hold nothing but Head.
func (q *Queue) Through(n int, p, tail []byte) {
	rest := q.sending[q.done:]
	head := min(n, len(rest))
	q.added += int64(len(p) + len(tail))
	q.sent += int64(n)
	q.done += head
	n -= head
	fromP := min(n, len(p))
	q.pending = append(append(q.pending, p[fromP:]...), tail[n-fromP:]...)
}

// Single reports whether the queue holds nothing but Head, so that Through may be used.
// It calls Head.
func (q *Queue) Single() bool {
	if q.done < len(q.sending) {
		return len(q.pending) == 0
	}
	q.Head()
	return true
}

// Mark notes the end of what has been added so far.
func (q *Queue) Mark() { q.mark = q.added }

// Marked reports whether everything before Mark is sent. What was added later does not
// count: a steady feed would hold up whoever waits for his own.
func (q *Queue) Marked() bool { return q.sent >= q.mark }

// Reset empties the queue, and drops buffers that have grown large.
func (q *Queue) Reset() {
	pending, sending := q.pending[:0], q.sending[:0]
	if cap(pending) > keep {
		pending = nil
	}
	if cap(sending) > keep {
		sending = nil
	}
	*q = Queue{pending: pending, sending: sending}
}
