package eventloop

import (
	"errors"
	"sync"
	"time"
)

// ErrClosed is what Group.Add returns after Stop.
var ErrClosed = errors.New("eventloop: closed")

// stopBound bounds the wait of Lazy.Stop for the end of the loops. A function that does
// not return is left behind.
const stopBound = 100 * time.Millisecond

// Lazy is a group on the loops of the process that is made when it is first asked for. The zero value is ready,
// and its methods may be called from any goroutine.
type Lazy struct {
	mu      sync.Mutex
	group   *Group
	stopped bool
}

// Group returns the group; see Join. It returns nil after Stop,
// on systems other than Linux, and where a group cannot be made now, as for want of
// file descriptors; the next call tries again.
func (l *Lazy) Group() *Group {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return nil
	}
	if l.group == nil {
		l.group, _ = Join()
	}
	return l.group
}

// Stop stops the group, if there is one, and waits for its end, for a tenth of a second at
// most. The group goes on until its last socket is removed, the loops until their last group
// ends.
func (l *Lazy) Stop() {
	l.mu.Lock()
	l.stopped = true
	g := l.group
	l.mu.Unlock()
	if g != nil {
		g.Stop()
		g.Wait(stopBound)
	}
}
