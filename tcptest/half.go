package tcptest

import (
	"bytes"
	"sync"
)

// half is one direction of a connection: what one end has written and the other
// has not yet read. The mutex of the connection guards it.
type half struct {
	// changed is broadcast after every change that a blocked Read or Write of
	// this direction may be waiting for. A sync.Cond blocks durably in a
	// synctest bubble.
	changed sync.Cond

	size    int          // the most that buf may hold
	buf     bytes.Buffer // grows with its content: most connections never fill it
	fin     bool         // the writer has shut down: nothing follows buf
	shut    bool         // the reader has shut down, which the writer is not told
	writing bool         // a Write is under way, others wait for their turn
}

func newHalf(mu *sync.Mutex, size int) *half {
	return &half{changed: sync.Cond{L: mu}, size: size}
}

// put appends what there is room for, and returns how much that was.
func (h *half) put(b []byte) int {
	n := min(len(b), h.size-h.buf.Len())
	if n > 0 {
		h.buf.Write(b[:n])
		h.changed.Broadcast()
	}
	return n
}

// take moves what is buffered to b, as far as it fits.
func (h *half) take(b []byte) int {
	n := copy(b, h.buf.Bytes())
	h.buf.Next(n)
	h.changed.Broadcast()
	return n
}
