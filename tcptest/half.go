package tcptest

import (
	"bytes"
	"sync"
)

// half is one direction of a connection: what one end has written and the other has not
// read yet. It is guarded by the mutex of the connection.
type half struct {
	// changed is signaled after every change that a blocked Read or Write of this
	// direction may wait for. In a synctest bubble, waiting for a sync.Cond is durable
	// blocking.
	changed sync.Cond

	size    int          // maximum size of buf
	buf     bytes.Buffer // grows on demand: most connections never fill it
	fin     bool         // the writer has shut down: no more bytes will be added to buf
	shut    bool         // the reader has shut down; the writer does not know
	writing bool         // a Write is in progress, and others wait for it
}

func newHalf(mu *sync.Mutex, size int) *half {
	return &half{changed: sync.Cond{L: mu}, size: size}
}

// put appends as much of b as there is room for, and returns how much that was.
func (h *half) put(b []byte) int {
	n := min(len(b), h.size-h.buf.Len())
	if n > 0 {
		h.buf.Write(b[:n])
		h.changed.Broadcast()
	}
	return n
}

// take moves as much of buf to b as fits, and returns how much that was.
func (h *half) take(b []byte) int {
	n := copy(b, h.buf.Bytes())
	h.buf.Next(n)
	h.changed.Broadcast()
	return n
}
