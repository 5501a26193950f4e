package handler

import (
	"sync"
	"time"

	"go.uber.org/atomic"
)

// flushDelay is how long output waits at most for the end of the frame that is
// being served.
const flushDelay = 5 * time.Millisecond

// delayedFlush has the clients that hold output back until the frames they are in
// are served. When that takes long, the output is sent all the same. One timer serves
// all clients, and a client is entered once in flushDelay at most, so that a
// frame that does not take long costs next to nothing.
type delayedFlush struct {
	n       atomic.Int32 // len(clients), to be read without the lock
	mu      sync.Mutex
	clients []*Client
	spare   []*Client // the slice that was in use before
	timer   *time.Timer

	// dropped is the client that dropOnly took out last. When the next to come
	// is another one, several are active: then the list is kept until it is
	// flushed, or each frame of theirs would set and stop the timer.
	dropped uint64
	several atomic.Bool
}

// add enters c, whose sending has delayed set.
func (l *delayedFlush) add(c *Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients = append(l.clients, c)
	if l.n.Inc() > 1 {
		return
	}
	l.several.Store(l.dropped != 0 && l.dropped != c.id)
	if l.timer == nil {
		l.timer = time.AfterFunc(flushDelay, l.flush)
	} else {
		l.timer.Reset(flushDelay)
	}
}

// dropOnly takes c out again if it is the only one, and reports whether it did.
// Then no timer runs while the process has nothing to do: each sleep with a near
// timeout costs about as much as the frame.
func (l *delayedFlush) dropOnly(c *Client) bool {
	if l.n.Load() != 1 || l.several.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.clients) != 1 || l.clients[0] != c {
		return false
	}
	l.clients[0] = nil
	l.clients = l.clients[:0]
	l.dropped = c.id
	l.n.Store(0)
	l.timer.Stop()
	return true
}

// flush sends what the clients in the list still hold.
func (l *delayedFlush) flush() {
	l.mu.Lock()
	clients := l.clients
	l.clients, l.spare = l.spare[:0], nil
	l.n.Store(0)
	l.dropped = 0
	l.mu.Unlock()
	for _, c := range clients {
		c.mu.Lock()
		c.sending.clear(delayed)
		c.flushLocked(false)
		c.mu.Unlock()
	}
	clear(clients)
	l.mu.Lock()
	l.spare = clients
	l.mu.Unlock()
}
