package natsbus

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// rooms receives the messages of rooms. Those of one room are delivered by one goroutine, in order.
type rooms struct {
	in      chan *nats.Msg
	boxes   []*box
	seed    maphash.Seed
	pending atomic.Int64 // bytes in all boxes
	limit   int64
}

func (r *rooms) init(limit int64, goroutines int) {
	r.in, r.limit, r.seed = make(chan *nats.Msg, channelSize), limit, maphash.MakeSeed()
	for range goroutines {
		r.boxes = append(r.boxes, &box{wakeup: make(chan struct{}, 1)})
	}
}

func (r *rooms) start(b *Bus) {
	b.loops.Go(func() { r.dispatch(b) })
	for _, x := range r.boxes {
		b.loops.Go(func() { x.run(b) })
	}
}

// dispatch puts each message into the box of its room. It must not wait.
func (r *rooms) dispatch(b *Bus) {
	seen := newOrigins(b.id)
	for {
		select {
		case m := <-r.in:
			if !seen.isNext(m.Reply) {
				continue
			}
			size := int64(len(m.Data) + len(m.Subject))
			if r.pending.Add(size) > r.limit {
				r.pending.Add(-size)
				b.drops.add(1)
				continue
			}
			r.boxes[maphash.String(r.seed, m.Subject)%uint64(len(r.boxes))].put(m)
		case <-b.ctx.Done():
			return
		}
	}
}

// box holds messages of rooms until its goroutine has delivered them.
type box struct {
	mu     sync.Mutex
	full   []*nats.Msg
	wakeup chan struct{} // has room for one
}

func (x *box) put(m *nats.Msg) {
	x.mu.Lock()
	x.full = append(x.full, m)
	x.mu.Unlock()
	select {
	case x.wakeup <- struct{}{}:
	default:
	}
}

func (x *box) take(spare []*nats.Msg) []*nats.Msg {
	x.mu.Lock()
	defer x.mu.Unlock()
	full := x.full
	x.full = spare
	return full
}

func (x *box) run(b *Bus) {
	prefix := b.names.rooms()
	var messages []*nats.Msg
	for {
		select {
		case <-x.wakeup:
		case <-b.ctx.Done():
			return
		}
		clear(messages)
		messages = x.take(messages[:0])
		for _, m := range messages {
			if b.ctx.Err() != nil {
				return
			}
			if room, ok := unescape(strings.TrimPrefix(m.Subject, prefix)); ok {
				b.in.Add(1)
				b.local.Deliver(room, m.Data)
			}
			b.rooms.pending.Add(-int64(len(m.Data) + len(m.Subject)))
		}
	}
}

// Listen implements hub.Bus. A message that another process publishes at the same moment may be too
// early.
func (b *Bus) Listen(room string) (stop func()) {
	subject, err := b.names.room(room)
	if err != nil || b.ctx.Err() != nil {
		return func() {}
	}
	var sub subscription
	b.outbox.do(func(nc *nats.Conn) { sub.begin(b, nc, subject, b.rooms.in) })
	return func() { b.outbox.do(func(*nats.Conn) { sub.end(b) }) }
}

// subscription is one to a key or to a room. It belongs to the goroutine of the outbox.
type subscription struct{ sub *nats.Subscription }

func (s *subscription) begin(b *Bus, nc *nats.Conn, subject string, in chan *nats.Msg) {
	sub, err := nc.ChanSubscribe(subject, in)
	if err != nil { // only a closed connection refuses
		b.log().Error("cannot subscribe", "subject", subject, "err", err)
		return
	}
	s.sub = sub
}

func (s *subscription) end(b *Bus) {
	if s.sub != nil {
		b.drops.forget(s.sub)
		s.sub.Unsubscribe() // only a closed connection refuses
		s.sub = nil
	}
}

// Publish implements hub.Bus. The error is ErrAway, ErrBusy, or says that the message is longer than
// the server allows.
func (b *Bus) Publish(room string, payload []byte) error {
	subject, err := b.names.room(room)
	if err != nil {
		return err
	}
	return b.put(post{subject: subject, data: append([]byte(nil), payload...), isRoom: true})
}
