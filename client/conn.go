package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"wireline/handler"
)

// Conn is a connection to a server that is made again when it is lost. Open and Dial of a Dialer make
// one. All methods are safe for concurrent use. The program closes it.
type Conn struct {
	dialer           *Dialer
	network, address string
	slots            chan struct{} // holds one value for each request under way

	mu      sync.Mutex
	state   State
	since   time.Time
	closing bool          // nothing new is accepted
	changed chan struct{} // closed when what await waits for may have changed; nil while nobody waits

	link    *link                   // the connection, also that of the attempt under way; nil if there is none
	serving bool                    // OnFrame may be called, also of a connection that was lost
	links   int                     // how many are not closed yet
	stop    context.CancelCauseFunc // ends the attempt under way; nil if there is none
	timer   *time.Timer             // for the next attempt, in StateWaiting
	next    time.Time               // when that begins
	attempt int                     // its number, for Backoff
	failed  int                     // attempts that have failed since the last connection
	dialed  bool                    // Dial returns the error of the first attempt
	err     error                   // why the last connection has ended, or the last attempt has failed

	queue    queue               // what waits for a connection
	flushed  chan struct{}       // closed when the queue is no longer being sent; nil while it is not
	requests map[string]*request // requests by id; nil while there are none
	gaveUp   int                 // how many requests were given up, but may still be answered
	counts   Counts
}

// Address returns the address that was dialled.
func (c *Conn) Address() string { return c.address }

// Send sends payload as a frame for which no answer is expected. While there is no connection, the
// frame waits in the queue, and Send returns at once. Otherwise Send waits until what was queued is
// sent, and for room, until ctx ends.
//
// A nil error means that the frame was accepted, not that the server has received it. The other
// errors are ErrAway, ErrQueueFull, ErrClosed, the cause of ctx, or one of the codec: nothing was sent.
func (c *Conn) Send(ctx context.Context, payload []byte) error {
	return c.send(ctx, nil, payload)
}

// send is Send; via is the connection that OnConnect uses, or nil.
func (c *Conn) send(ctx context.Context, via *link, payload []byte) error {
	err := c.dispatch(ctx, via, nil, payload)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts.Sent++
	}
	return err
}

// dispatch gives a payload to the connection, or queues it as a frame. If it is a request, r is
// registered before its answer can come. After an error it is not registered, and nothing was sent.
func (c *Conn) dispatch(ctx context.Context, via *link, r *request, payload []byte) error {
	for frame := []byte(nil); ctx.Err() == nil; {
		l, err := c.admit(via, r, frame)
		switch {
		case err == errUnencoded:
			// A slow codec must not hold up others, so it is called without the lock.
			if frame, err = c.dialer.encode(payload); err != nil {
				return err
			}
			continue
		case err == errFlushing:
			c.awaitFlush(ctx)
			continue
		case err != nil || l == nil:
			return err
		}
		if err = l.client.WriteFrameContext(ctx, payload); err == nil {
			return nil
		}
		c.withdraw(r)
		switch {
		case ctx.Err() != nil:
		case !errors.Is(err, handler.ErrClosed):
			return err
		case via != nil:
			return lost(err)
		default: // the connection has ended, and has taken nothing of it
			c.awaitLoss(ctx, l)
		}
	}
	return context.Cause(ctx)
}

var (
	// errUnencoded says that admit needs the frame.
	errUnencoded = errors.New("the frame is needed")

	// errFlushing says that what has waited in the queue is to be sent before.
	errFlushing = errors.New("the queue is being sent")
)

// admit decides where a payload goes: to the connection that it returns, or, if that is nil, into the
// queue, for which it needs the frame.
func (c *Conn) admit(via *link, r *request, frame []byte) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admissible(via, r); err != nil {
		return nil, err
	}
	to := via
	switch {
	case to != nil:
	case c.state == StateConnected && c.flushed != nil:
		return nil, errFlushing
	case c.state == StateConnected:
		to = c.link
	case c.dialer.maxQueued() < 0:
		return nil, c.awayErr()
	case frame == nil:
		return nil, errUnencoded
	default:
		if !c.queue.add(frame, r, c.dialer.maxQueued()) {
			return nil, ErrQueueFull
		}
	}
	if r != nil {
		c.register(r, to)
	}
	return to, nil
}

// admissible reports why a payload is not accepted, if so. The caller holds mu.
func (c *Conn) admissible(via *link, r *request) error {
	switch {
	case c.state == StateClosed, c.closing && via == nil:
		return ErrClosed
	case via != nil && via != c.link:
		return lost(via.err)
	case r != nil && c.requests[r.id] != nil:
		return ErrIDInUse
	}
	return nil
}

// awayErr is ErrAway with the last failure. The caller holds mu.
func (c *Conn) awayErr() error {
	if c.err == nil {
		return ErrAway
	}
	return errors.Join(ErrAway, c.err)
}

// setState changes the state. The caller holds mu.
func (c *Conn) setState(s State) {
	c.state, c.since = s, time.Now()
	c.wakeWaiters()
}

// wakeWaiters has await ask again. The caller holds mu.
func (c *Conn) wakeWaiters() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// await waits until ok returns true, which is called with mu. It returns the cause of ctx if that ends
// before.
func (c *Conn) await(ctx context.Context, ok func() bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok() {
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if ctx.Err() != nil && !ok() {
			return context.Cause(ctx)
		}
	}
	return nil
}

// awaitFlush waits until the queue is no longer being sent, or ctx ends.
func (c *Conn) awaitFlush(ctx context.Context) {
	c.mu.Lock()
	flushed := c.flushed
	c.mu.Unlock()
	if flushed == nil {
		return
	}
	select {
	case <-flushed:
	case <-ctx.Done():
	}
}

// awaitLoss waits until it is noted that l has ended, or ctx ends.
func (c *Conn) awaitLoss(ctx context.Context, l *link) {
	_ = c.await(ctx, func() bool { return c.link != l || c.state == StateClosed })
}

// Await waits until there is a connection. The error is ErrClosed, or the cause of ctx.
func (c *Conn) Await(ctx context.Context) error {
	state := StateClosed
	err := c.await(ctx, func() bool {
		state = c.state
		return state == StateConnected || state == StateClosed
	})
	if err == nil && state == StateClosed {
		err = ErrClosed
	}
	return err
}
