package natsbus

import (
	"context"
	"errors"
	"time"

	"wireline/hub"
)

// JetStream says how keys are owned. The zero value of each field is usable. All processes need the
// same.
type JetStream struct {
	// Bucket is the name of the key-value bucket, which the bus makes if there is none. Empty means
	// Bus.Prefix, with '_' for each dot.
	Bucket string

	// Replicas is on how many servers a new bucket is. Zero means 1. Three survive the loss of one.
	Replicas int

	// Lease is for how long a process owns its keys without hearing from JetStream. It renews its
	// lease three times in this time. A process that does not answer, while its connection is
	// there, loses its keys when half of this time more has passed. Zero means 10 s; it is at
	// least 2 s.
	Lease time.Duration
}

// ownership makes each key the property of one process, by entries in a bucket. An entry names the
// owner. A message to a key names the owner too, and a process that is not the owner, or not sure
// of it, does not take the message.
//
// A process is sure of a claim as long as its lease has not run out, and if it has seen the entry
// since its connection was made.
type ownership struct {
	bus    *Bus
	lease  lease
	bucket bucket
	cache  cache
	ready  chan struct{} // closed when the first lease is there
	doubt  chan struct{} // has room for one: claims are to be checked
	freed  freed
}

// checkers is how many claims are checked, and how many entries are removed, at the same time.
const checkers = 16

// errNoEntry says that nobody owns the key by an entry.
var errNoEntry = errors.New("natsbus: the bucket has no entry for the key")

func newOwnership(b *Bus) *ownership {
	o := &ownership{bus: b, ready: make(chan struct{}), doubt: make(chan struct{}, 1)}
	o.bucket.init(b)
	o.lease.init(o, positive(b.JetStream.Lease, defaultLease))
	o.freed.init()
	return o
}

func (o *ownership) start() {
	o.bus.loops.Go(o.lease.run)
	o.bus.loops.Go(o.runChecks)
	o.bus.loops.Go((&sweep{owner: o}).run)
	o.freed.start(o)
}

// close removes the entries of this process, and then its lease. It takes Timeout at most: without
// its lease and its connection, the process owns nothing anyway.
func (o *ownership) close() {
	for _, c := range o.bus.claims.held() {
		o.free(c)
	}
	ctx, cancel := context.WithTimeout(o.bus.ctx, o.bus.timeout())
	defer cancel()
	o.freed.drain(ctx)
	o.lease.end(ctx)
}

// valid reports whether the lease has not run out.
func (o *ownership) valid() bool { return o.lease.valid() }

// sure reports whether a claim is certainly ours.
func (o *ownership) sure(c *claim) bool {
	return o.lease.valid() && c.checked.Load() == o.bus.link.epoch.Load()
}

// claim makes this process the owner in the bucket. It returns when no other process has a client
// with the key.
func (o *ownership) claim(ctx context.Context, c *claim) error {
	if !o.valid() {
		return o.bus.whyDown()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*o.lease.ttl(), hub.ErrLost)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		e, err := o.bucket.get(ctx, c.key)
		switch {
		case errors.Is(err, errNoEntry):
			err = o.write(ctx, c, entry{})
		case err == nil && e.node == o.bus.id: // of an older claim
			err = o.write(ctx, c, e)
		case err == nil:
			err = o.takeOver(ctx, c, e)
		}
		if !errors.Is(err, errConflict) {
			return err
		}
		if err := c.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// write writes our claim in the place of an entry. The error is errConflict if the entry is not
// the newest.
func (o *ownership) write(ctx context.Context, c *claim, e entry) error {
	revision, err := o.bucket.put(ctx, c.key, owner{o.bus.id, c.number}, e.revision)
	if err == nil {
		c.revision.Store(revision)
	}
	return err
}

// takeOver takes the key from another process. The error is errConflict if that has to be tried
// again.
func (o *ownership) takeOver(ctx context.Context, c *claim, e entry) error {
	question := kindRelease
	if c.second != hub.KickFirst {
		question = kindHas
	}
	a, err := o.bus.ask(ctx, o.bus.names.node(e.node), e.direct(c.key, []byte{byte(question)}))
	switch {
	case errors.Is(err, errNobody): // it has ended, or has no connection: then it asks before it goes on
		return o.replace(ctx, c, e)
	case errors.Is(err, errCut):
		return errConflict
	case errors.Is(err, hub.ErrLost) && ctx.Err() == nil:
		return o.unanswered(ctx, c, e)
	case err != nil:
		return err
	case a.verdict == verdictOK:
		return hub.ErrTaken
	}
	return o.write(ctx, c, e)
}

// unanswered decides about an owner that does not answer. As long as it has a lease, it owns the
// key.
func (o *ownership) unanswered(ctx context.Context, c *claim, e entry) error {
	leased, err := o.bucket.hasLease(ctx, e.node)
	switch {
	case err != nil:
		return err
	case leased && c.second != hub.KickFirst:
		return hub.ErrTaken
	case leased && e.marked:
		return errConflict
	}
	return o.replace(ctx, c, e)
}

// replace takes the key from an owner that is not there. It may come back after it was asked, and look
// at its entry. So the entry is marked first, which is errConflict: then the owner is asked again. If it
// comes back after that, it finds the mark and writes the entry again, or it finds ours: one of the two
// writes fails.
func (o *ownership) replace(ctx context.Context, c *claim, e entry) error {
	if e.marked {
		return o.write(ctx, c, e)
	}
	if err := o.bucket.mark(ctx, c.key, e); err != nil {
		return err
	}
	return errConflict
}

// reach asks the owner of a key. The error is errNoEntry if there is none.
func (o *ownership) reach(ctx context.Context, key string, message func(id uint64) []byte) (*question, answer, error) {
	limited, cancel := context.WithTimeoutCause(ctx, o.bus.timeout(), hub.ErrLost)
	defer cancel()
	var refused owner
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		at, err := o.lookUp(limited, key)
		if err != nil {
			return nil, answer{}, err
		}
		if at == refused || at.node == o.bus.id { // it has gone, and has left its entry
			o.cache.forget(key, at)
			return nil, answer{}, hub.ErrUnknown
		}
		q, a, err := o.bus.reachOwner(ctx, at, key, message)
		moved := errors.Is(err, hub.ErrUnknown) || err == nil && a.verdict == verdictMoved
		checking := err == nil && a.verdict == verdictChecking
		if !moved && !checking {
			return q, a, err
		}
		q.end()
		o.cache.forget(key, at)
		if moved {
			refused = at
			continue
		}
		select {
		case <-time.After(pause):
		case <-limited.Done():
			return nil, answer{}, context.Cause(limited)
		}
	}
}

// lookUp returns the owner of a key, as far as this process knows.
func (o *ownership) lookUp(ctx context.Context, key string) (owner, error) {
	if at, ok := o.cache.get(key); ok {
		return at, nil
	}
	e, err := o.bucket.get(ctx, key)
	if err == nil {
		o.cache.put(key, e.owner)
	}
	return e.owner, err
}

// recheck has all claims checked that are not sure. It does not wait.
func (o *ownership) recheck() {
	select {
	case o.doubt <- struct{}{}:
	default:
	}
}
