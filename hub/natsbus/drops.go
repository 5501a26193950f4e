package natsbus

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// drops counts messages that were lost.
type drops struct {
	mu       sync.Mutex
	n        int64
	reported int64
	slow     map[*nats.Subscription]int // what nats.go has dropped of each, as counted in n
}

func (d *drops) add(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n += n
}

func (d *drops) total() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.countSlowLocked()
	return d.n
}

// watch has the drops of a subscription counted. nats.go tells of the first ones only.
func (d *drops) watch(sub *nats.Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slow == nil {
		d.slow = make(map[*nats.Subscription]int)
	}
	if _, ok := d.slow[sub]; !ok {
		d.slow[sub] = 0
	}
	d.countSlowLocked()
}

// forget counts the drops of a subscription for the last time. It must be called before the
// subscription ends.
func (d *drops) forget(sub *nats.Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, err := sub.Dropped(); err == nil {
		d.n += int64(n - d.slow[sub])
	}
	delete(d.slow, sub)
}

func (d *drops) countSlowLocked() {
	for sub, counted := range d.slow {
		if n, err := sub.Dropped(); err == nil {
			d.n += int64(n - counted)
			d.slow[sub] = n
		} else { // it has ended
			delete(d.slow, sub)
		}
	}
}

// take returns how many were lost since the last call.
func (d *drops) take() int64 {
	total := d.total()
	d.mu.Lock()
	defer d.mu.Unlock()
	n := total - d.reported
	d.reported = total
	return n
}

// asyncError is told by nats.go of errors that belong to no call.
func (b *Bus) asyncError(sub *nats.Subscription, err error) {
	if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
		b.drops.watch(sub)
		return
	}
	b.log().Warn("NATS reports an error", "err", err)
}

// unsent is told by the outbox of a message that could not be sent. The call that it belongs to ends.
func (b *Bus) unsent(p post, err error) {
	if id := b.callID(p.reply); id != 0 {
		b.calls.answer(id, answer{err: b.whyDown()})
		return
	}
	if b.ctx.Err() == nil {
		b.drops.add(1)
	}
}

// runReports tells of dropped messages, once in a heartbeat. It has a goroutine of its own, since a
// function of the user may block.
func (b *Bus) runReports() {
	b.eachHeartbeat(func() {
		n := b.drops.take()
		if n == 0 {
			return
		}
		b.log().Warn("messages of other processes dropped", "count", n)
		if b.OnDrop != nil {
			b.OnDrop(n)
		}
	})
}
