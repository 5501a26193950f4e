package handler

import (
	"sync"
	"time"

	"go.uber.org/atomic"
)

// lateFlush is how long output waits at most for the end of the frame that is
// being served.
const lateFlush = 5 * time.Millisecond

// lateList has the clients that hold output back until the frames they are in
// are served: when that takes long, it is sent all the same. One timer serves
// all clients, and a client is entered once in lateFlush at most, so that a
// frame that does not take long costs next to nothing.
type lateList struct {
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

// add enters c, whose late says that it is entered.
func (l *lateList) add(c *Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients = append(l.clients, c)
	if l.n.Inc() > 1 {
		return
	}
	l.several.Store(l.dropped != 0 && l.dropped != c.id)
	if l.timer == nil {
		l.timer = time.AfterFunc(lateFlush, l.flush)
	} else {
		l.timer.Reset(lateFlush)
	}
}

// dropOnly takes c out again if it is the only one, and reports whether it did.
// Then no timer runs while the process has nothing to do: each sleep with a near
// time-out costs about as much as the frame.
func (l *lateList) dropOnly(c *Client) bool {
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
func (l *lateList) flush() {
	l.mu.Lock()
	clients := l.clients
	l.clients, l.spare = l.spare[:0], nil
	l.n.Store(0)
	l.dropped = 0
	l.mu.Unlock()
	for _, c := range clients {
		c.mu.Lock()
		c.late = false
		c.startFlushLocked()
		c.mu.Unlock()
	}
	clear(clients)
	l.mu.Lock()
	l.spare = clients
	l.mu.Unlock()
}
