package eventloop

import (
	"sync"

	"go.uber.org/atomic"
)

const (
	chunkBits = 10
	maxChunks = 1 << 12 // for four million descriptors
)

// table finds the socket of a file descriptor. It never shrinks: it holds eight bytes for
// each descriptor that there ever was.
type table struct {
	mu     sync.Mutex // for growing
	chunks [maxChunks]atomic.Pointer[chunk]
}

type chunk [1 << chunkBits]atomic.Pointer[Socket]

// set reports whether there is room for fd.
func (t *table) set(fd int, s *Socket) bool {
	i := fd >> chunkBits
	if i < 0 || i >= maxChunks {
		return false
	}
	c := t.chunks[i].Load()
	if c == nil {
		c = t.grow(i)
	}
	c[fd&(1<<chunkBits-1)].Store(s)
	return true
}

func (t *table) grow(i int) *chunk {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.chunks[i].Load(); c != nil {
		return c
	}
	c := new(chunk)
	t.chunks[i].Store(c)
	return c
}

// get returns the socket of fd; nil if fd is on no loop.
func (t *table) get(fd int) *Socket {
	i := fd >> chunkBits
	if i < 0 || i >= maxChunks {
		return nil
	}
	c := t.chunks[i].Load()
	if c == nil {
		return nil
	}
	return c[fd&(1<<chunkBits-1)].Load()
}
