package natsbus

import (
	"context"
	"sync/atomic"
	"time"
)

// minLease is the shortest lease. JetStream counts the time of an entry in seconds.
const minLease = 2 * time.Second

// lease says for how long this process may own keys. It counts from before it is written, by the
// monotonic clock; the bucket keeps it for half as long again from when it is written. So whoever
// sees that it has run out there knows that it has run out here. The clocks need not agree, but
// have to run at the same speed, to within a third.
type lease struct {
	owner  *ownership
	length time.Duration
	base   time.Time
	until  atomic.Int64 // nanoseconds after base
	failed bool         // the last write; of run
}

func (l *lease) init(o *ownership, length time.Duration) {
	l.owner, l.length, l.base = o, max(length, minLease), time.Now()
}

// ttl is how long the bucket keeps a lease.
func (l *lease) ttl() time.Duration { return (l.length*3/2 + time.Second - 1).Truncate(time.Second) }

func (l *lease) valid() bool { return int64(time.Since(l.base)) < l.until.Load() }

// run renews the lease until the bus ends.
func (l *lease) run() {
	b := l.owner.bus
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-b.ctx.Done():
			return
		}
		timer.Reset(l.renew())
	}
}

// renew writes the lease, and returns how long to wait before the next time.
func (l *lease) renew() time.Duration {
	b := l.owner.bus
	again := min(l.length/20, 250*time.Millisecond)
	if !b.link.up.Load() {
		return again
	}
	ctx, cancel := l.owner.bucket.within(b.ctx)
	defer cancel()
	err := l.owner.bucket.ensure(ctx)
	start := time.Since(l.base)
	if err == nil {
		err = l.owner.bucket.lease(ctx, l.ttl())
	}
	if err != nil {
		l.owner.bucket.open.Store(nil) // it may have been deleted
		if !l.failed && b.ctx.Err() == nil {
			b.log().Warn("cannot write the lease", "err", err)
		}
		l.failed = true
		return again
	}
	l.extend(start)
	return l.length / 3
}

// extend notes a lease that was written after start. What another process has taken in a time
// without a lease is found out before a claim is sure again. The lease may have run out while it
// was written.
func (l *lease) extend(start time.Duration) {
	o := l.owner
	if !l.valid() || l.failed {
		o.bus.link.epoch.Add(1)
		o.recheck()
	}
	l.failed = false
	l.until.Store(int64(start + l.length))
	select {
	case <-o.ready:
	default:
		close(o.ready)
	}
}

// end gives the lease back.
func (l *lease) end(ctx context.Context) {
	l.until.Store(0)
	l.owner.bucket.endLease(ctx) // if it fails, the lease runs out
}
