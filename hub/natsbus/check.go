package natsbus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"wireline/hub"
)

// runChecks checks the claims whenever there is a doubt, until none is left.
func (o *ownership) runChecks() {
	for {
		select {
		case <-o.doubt:
		case <-o.bus.ctx.Done():
			return
		}
		if o.checkAll() {
			continue
		}
		select { // NATS is away, or slow
		case <-time.After(250 * time.Millisecond):
			o.recheck()
		case <-o.bus.ctx.Done():
			return
		}
	}
}

// checkAll checks the claims that are not sure. It returns false if some of them have to be checked
// again.
func (o *ownership) checkAll() bool {
	var doubtful []*claim
	for _, c := range o.bus.claims.held() {
		if !o.sure(c) && c.second != hub.AllowBoth {
			doubtful = append(doubtful, c)
		}
	}
	if len(doubtful) > 0 && !o.lease.valid() {
		return false
	}
	var next atomic.Int64
	var failed atomic.Bool
	var checks sync.WaitGroup
	for range min(checkers, len(doubtful)) {
		checks.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(doubtful)) && !failed.Load(); i = next.Add(1) - 1 {
				if o.check(doubtful[i]) != nil {
					failed.Store(true)
				}
			}
		})
	}
	checks.Wait()
	return !failed.Load()
}

// check looks whether we still own a key. If another process has taken it and is there, the claim
// is lost.
func (o *ownership) check(c *claim) error {
	epoch := o.bus.link.epoch.Load()
	e, err := o.bucket.get(o.bus.ctx, c.key)
	switch {
	case errors.Is(err, errNoEntry):
		err = o.write(o.bus.ctx, c, entry{})
	case err == nil && e.owner == owner{o.bus.id, c.number} && !e.marked:
		c.revision.Store(e.revision)
	case err == nil && e.owner == owner{o.bus.id, c.number}:
		err = o.write(o.bus.ctx, c, e) // see sweep
	case err == nil:
		err = o.checkOther(c, e)
	}
	switch {
	case err == nil:
		c.checked.Store(epoch)
	case errors.Is(err, hub.ErrTaken):
		o.bus.lose(c, func() {})
		err = nil
	}
	return err
}

// checkOther takes the key back from an owner that is not there any more. The error is ErrTaken if
// it is, or may be.
func (o *ownership) checkOther(c *claim, e entry) error {
	a, err := o.bus.ask(o.bus.ctx, o.bus.names.node(e.node), e.direct(c.key, []byte{byte(kindHas)}))
	switch {
	case errors.Is(err, errNobody):
		return o.replace(o.bus.ctx, c, e)
	case err == nil && a.verdict == verdictMoved:
		return o.write(o.bus.ctx, c, e)
	case err == nil:
		return hub.ErrTaken
	case errors.Is(err, errCut) || !errors.Is(err, hub.ErrLost):
		return err
	}
	leased, err := o.bucket.hasLease(o.bus.ctx, e.node)
	switch {
	case err != nil:
		return err
	case leased:
		return hub.ErrTaken
	}
	return o.replace(o.bus.ctx, c, e)
}

// freed are the claims whose entries are to be removed.
type freed struct {
	mu     sync.Mutex
	claims []*claim
	busy   int // claims that are being removed
	wakeup *sync.Cond
	closed bool
}

func (f *freed) init() { f.wakeup = sync.NewCond(&f.mu) }

// free has the entry of a claim removed, soon. If it cannot be, it stays until a process claims the
// key, or until this one has ended and a sweep finds it.
func (o *ownership) free(c *claim) {
	if c.revision.Load() == 0 {
		return
	}
	o.freed.mu.Lock()
	defer o.freed.mu.Unlock()
	o.freed.claims = append(o.freed.claims, c)
	o.freed.wakeup.Signal()
}

func (f *freed) start(o *ownership) {
	context.AfterFunc(o.bus.ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.closed = true
		f.wakeup.Broadcast()
	})
	for range checkers {
		o.bus.loops.Go(func() {
			for c := f.next(); c != nil; c = f.next() {
				o.bucket.remove(o.bus.ctx, c.key, c.revision.Load()) // see free
				f.removed()
			}
		})
	}
}

// next waits for a claim. It returns nil when the bus has ended.
func (f *freed) next() *claim {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.claims) == 0 && !f.closed {
		f.wakeup.Wait()
	}
	if f.closed {
		return nil
	}
	c := f.claims[0]
	f.claims[0] = nil
	f.claims = f.claims[1:]
	f.busy++
	return c
}

func (f *freed) removed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	f.wakeup.Broadcast()
}

// drain waits until all entries have been removed, or ctx ends.
func (f *freed) drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wakeup.Broadcast()
	})
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for (len(f.claims) > 0 || f.busy > 0) && ctx.Err() == nil {
		f.wakeup.Wait()
	}
}
