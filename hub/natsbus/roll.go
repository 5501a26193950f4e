package natsbus

import (
	"context"
	"errors"
	"sync"
	"time"

	"wireline/hub"
)

// roll collects the answers of all nodes to a question. The body of each begins with its node.
type roll struct {
	mu      sync.Mutex
	take    func(body cursor) // gets the rest of each answer; nil when nobody waits any more
	waiting map[nodeID]bool
	silent  map[nodeID]bool // not waited for
	err     error
	changed chan struct{} // has room for one
}

// askAll asks all nodes, and returns when each has answered. The error wraps ErrLost if one has not
// done so within Timeout. One that is silent is not waited for, but as long as its connection to the
// server is there, the error is the same.
func (b *Bus) askAll(ctx context.Context, message []byte, take func(body cursor)) error {
	there, silent := b.nodes.all()
	r := &roll{take: take, waiting: there, silent: silent, changed: make(chan struct{}, 1)}
	k, err := b.calls.begin(r.add)
	if err != nil {
		return err
	}
	defer r.close()
	defer b.calls.end(k)
	if err := b.post(b.names.all(), b.replyTo(k.id), message); err != nil {
		return err
	}
	return r.wait(ctx, b.timeout())
}

func (r *roll) wait(ctx context.Context, timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		if err, done := r.result(); done {
			return err
		}
		select {
		case <-r.changed:
		case <-timer.C:
			return hub.ErrLost
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *roll) add(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(a.err, errNobody): // all have gone
		clear(r.waiting)
		clear(r.silent)
	case a.err != nil:
		r.err = a.err
	case r.take != nil:
		body := cursor{rest: a.data}
		if id := body.node(); a.verdict == verdictOK {
			delete(r.waiting, id)
			delete(r.silent, id)
		}
		r.take(body)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// result is that of askAll, when done is true.
func (r *roll) result() (err error, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done = r.err != nil || len(r.waiting) == 0
	if err = r.err; err == nil && len(r.silent) > 0 {
		err = hub.ErrLost
	}
	return err, done
}

// close waits until take returns, and lets it not be called again.
func (r *roll) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take = nil
}
