package client

import (
	"bytes"
	"container/list"
	"context"
	"errors"
)

// request is one that waits for its answer.
type request struct {
	id   string
	done chan struct{} // closed when answer and err are set

	answer []byte
	err    error

	// Under Conn.mu.
	link   *link         // that it was given to; nil while it is in the queue
	begun  bool          // it is counted
	place  *list.Element // in the queue, or nil
	gaveUp bool          // nobody waits any more, but its answer may come
}

// finish ends the wait. It is called once.
func (r *request) finish(answer []byte, err error) {
	r.answer, r.err = answer, err
	close(r.done)
}

// Request sends payload as a frame, and waits for the frame of the server that has the same id, by
// Dialer.ID. The caller owns the answer.
//
// While there is no connection, the request waits in the queue. Otherwise it waits until what was
// queued is sent, and for room. If ctx ends, the error is its cause:
// a request that was still in the queue is never sent; of another one, the answer is dropped when it
// comes, and until then its id cannot be used again. If the connection ends after it was given the
// request, the error is ErrLost, and the request is not sent again: the server may have served it.
// All other errors say that it was not sent: ErrNoID, ErrIDInUse, ErrAway, ErrQueueFull, ErrClosed,
// or one of the codec. But ErrClosed may also mean that Shutdown has not waited for the answer.
func (c *Conn) Request(ctx context.Context, payload []byte) (answer []byte, err error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-c.slots }()
	return c.ask(ctx, nil, payload)
}

// ask is Request, without its turn; via is the connection that OnConnect uses, or nil.
func (c *Conn) ask(ctx context.Context, via *link, payload []byte) (answer []byte, err error) {
	answer, err = c.exchange(ctx, via, payload)
	if errors.Is(err, ErrLost) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts.Lost++
	}
	return answer, err
}

// exchange sends a request, and waits for its answer.
func (c *Conn) exchange(ctx context.Context, via *link, payload []byte) (answer []byte, err error) {
	if c.dialer.ID == nil {
		return nil, ErrNoID
	}
	id, ok := c.dialer.ID(payload)
	if !ok {
		return nil, ErrNoID
	}
	r := &request{id: id, done: make(chan struct{})}
	if err := c.dispatch(ctx, via, r, payload); err != nil {
		return nil, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if err := c.giveUp(r, context.Cause(ctx)); err != nil {
			return nil, err
		}
		<-r.done
	}
	return r.answer, r.err
}

// register notes a request; to is the connection that it goes to, or nil. The caller holds mu.
func (c *Conn) register(r *request, to *link) {
	if c.requests == nil {
		c.requests = make(map[string]*request)
	}
	r.link = to
	c.requests[r.id] = r
	if !r.begun {
		r.begun = true
		c.counts.Requests++
	}
}

// forget undoes register. The caller holds mu.
func (c *Conn) forget(r *request) {
	if delete(c.requests, r.id); len(c.requests) == 0 {
		c.requests = nil // an idle Conn keeps no map
	}
	c.wakeWaiters()
}

// withdraw undoes register for a request that its connection has not taken; nil is allowed. It can be
// registered again.
func (c *Conn) withdraw(r *request) {
	if r == nil {
		return
	}
	c.mu.Lock()
	registered := c.requests[r.id] == r
	if registered {
		c.forget(r)
	}
	c.mu.Unlock()
	if !registered { // it has ended with the connection
		<-r.done
		r.done = make(chan struct{})
	}
}

// giveUp ends a request for which nobody waits any more, because of err. It returns nil if the
// request has ended, or is about to.
func (c *Conn) giveUp(r *request, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests[r.id] != r {
		return nil
	}
	if r.place != nil {
		c.queue.remove(r.place)
		c.forget(r)
		return err
	}
	// Its answer may come. It must not become that of another request with the same id.
	r.gaveUp = true
	c.gaveUp++
	c.wakeWaiters()
	if c.gaveUp >= c.dialer.maxInFlight() {
		r.link.client.CloseFor(ErrUnanswered)
	}
	return err
}

// answer gives a frame to the request that waits for it, if it is an answer.
func (c *Conn) answer(from *link, frame []byte) (taken bool) {
	if c.dialer.ID == nil {
		return false
	}
	id, ok := c.dialer.ID(frame)
	if !ok {
		return false
	}
	r, wanted := c.takeRequest(from, id)
	if wanted {
		r.finish(bytes.Clone(frame), nil)
	}
	return r != nil
}

// takeRequest takes the request with an id that was given to a connection; nil if there is none. wanted
// says that somebody waits for its answer.
func (c *Conn) takeRequest(from *link, id string) (r *request, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r = c.requests[id]
	if r == nil || r.link != from {
		return nil, false
	}
	c.forget(r)
	if r.gaveUp {
		c.gaveUp--
		c.counts.Late++
		return r, false
	}
	c.counts.Answers++
	return r, true
}

// takeRequests takes the requests that were given to a connection, and for whose answers somebody waits.
// The caller holds mu, and finishes them without it.
func (c *Conn) takeRequests(of *link) (requests []*request) {
	for _, r := range c.requests {
		if r.link != of {
			continue
		}
		c.forget(r)
		if r.gaveUp {
			c.gaveUp--
		} else {
			requests = append(requests, r)
		}
	}
	return requests
}

// finishAll ends requests with an error.
func finishAll(requests []*request, err error) {
	for _, r := range requests {
		r.finish(nil, err)
	}
}
