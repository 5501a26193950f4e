package handler

import (
	"sync"
	"time"

	"go.uber.org/atomic"
)

// flushDelay is how long output may wait for the end of the frame that is being served.
const flushDelay = 5 * time.Millisecond

// delayedFlush lists the clients that hold back output until the frame that they serve
// is done. If that takes longer than flushDelay, it sends the output anyway. One timer
// serves all clients, and a client is added at most once in flushDelay, so a quick
// frame costs almost nothing.
type delayedFlush struct {
	n       atomic.Int32 // len(clients), readable without mu
	mu      sync.Mutex
	clients []*Client
	spare   []*Client // an empty slice to reuse
	timer   *time.Timer

	// dropped is the ID of the client that dropOnly removed last. If the next client to
	// be added is a different one, several clients are active: then the list is kept
	// until it is flushed. Otherwise each of their frames would start and stop the
	// timer.
	dropped uint64
	several atomic.Bool
}

// add adds c, which has set the flag delayed.
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

// dropOnly removes c if it is the only client, and reports whether it did. This stops
// the timer while the process is idle: a sleep with a near timeout costs about as much
// as serving the frame.
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

// flush sends the output that the listed clients still hold back.
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
