// Package outq holds the bytes that wait to be sent on one connection. It does no I/O
// and takes no lock: its caller must prevent concurrent use.
package outq

// maxKept is the largest buffer, in bytes, that Reset keeps.
const maxKept = 64 << 10

// maxSlack is how much memory, in bytes, Fit leaves to a queue that needs less.
const maxSlack = 4 << 10

// Queue is a first-in, first-out queue of bytes that counts what was added and sent.
// The zero value is empty and ready to use. It is not safe for concurrent use.
//
// It has two buffers: one is being sent while messages are added to the other.
type Queue struct {
	pending []byte // sent after sending
	sending []byte // being sent; the first done bytes are sent
	done    int

	added, sent int64 // bytes since Reset
	mark        int64 // value of added at the last call of Mark
}

// Size returns how many bytes are waiting to be sent.
func (q *Queue) Size() int { return int(q.added - q.sent) }

// Cap returns how many bytes of memory the queue has.
func (q *Queue) Cap() int { return cap(q.pending) + cap(q.sending) }

// Fit moves the bytes to a buffer of their size, if the queue has much more memory than they need. A
// slice that Head has returned is not valid any more.
func (q *Queue) Fit() {
	size := q.Size()
	if q.Cap() <= maxSlack || size > q.Cap()/4 {
		return
	}
	q.sending = append(append(make([]byte, 0, size), q.sending[q.done:]...), q.pending...)
	q.pending, q.done = nil, 0
}

// Add appends a copy of p.
func (q *Queue) Add(p []byte) {
	q.pending = append(q.pending, p...)
	q.added += int64(len(p))
}

// Tail returns the buffer that messages are appended to. The caller may append to it
// and must then pass the result to Grown.
func (q *Queue) Tail() []byte { return q.pending }

// Grown takes the result of appending to Tail, and returns how many bytes were
// appended.
func (q *Queue) Grown(tail []byte) (n int) {
	n = len(tail) - len(q.pending)
	q.pending = tail
	q.added += int64(n)
	return n
}

// Head returns the bytes to send next, or an empty slice if there are none. Until they
// are sent, further calls return the same bytes in the same order. The slice is valid
// until the next call of Take, Through or Reset.
func (q *Queue) Head() []byte {
	if q.done == len(q.sending) {
		q.sending, q.pending, q.done = q.pending, q.sending[:0], 0
	}
	return q.sending[q.done:]
}

// HeadToMark is Head, but for what was added after the last call of Mark.
func (q *Queue) HeadToMark() []byte {
	head := q.Head()
	return head[:min(int64(len(head)), max(q.mark-q.sent, 0))]
}

// Trim throws away what was added after the last call of Mark and waits to be sent.
func (q *Queue) Trim() {
	left := len(q.HeadToMark())
	q.sending = q.sending[:q.done+left]
	behind := max(int(q.mark-q.sent)-left, 0)
	q.pending = q.pending[:behind]
	q.added = q.sent + int64(left+behind)
}

// Take records that n bytes were sent. They are more than Head holds if the connection had
// copied what follows Head as well, when Through was called.
func (q *Queue) Take(n int) {
	q.sent += int64(n)
	if head := len(q.sending) - q.done; n > head {
		q.sending, q.pending, q.done = q.pending, q.sending[:0], n-head
		return
	}
	q.done += n
}

// Through adds the message p, tail that the caller has sent directly after Head,
// without copying it first. n is how many bytes of Head, p and tail together were sent.
// Through copies the rest of p and tail. The queue must hold nothing but Head; see
// Single.
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

// Single reports whether the queue holds nothing but Head, so that Through may be
// called. It calls Head.
func (q *Queue) Single() bool {
	if q.done < len(q.sending) {
		return len(q.pending) == 0
	}
	q.Head()
	return true
}

// Mark marks the current end of the queue.
func (q *Queue) Mark() { q.mark = q.added }

// Marked reports whether everything before the mark is sent. Bytes added later do not
// count: otherwise a steady feed would delay a caller that waits for its own bytes.
func (q *Queue) Marked() bool { return q.sent >= q.mark }

// Reset empties the queue, and drops large buffers.
func (q *Queue) Reset() {
	pending, sending := q.pending[:0], q.sending[:0]
	if cap(pending) > maxKept {
		pending = nil
	}
	if cap(sending) > maxKept {
		sending = nil
	}
	*q = Queue{pending: pending, sending: sending}
}
