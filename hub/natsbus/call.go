package natsbus

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"wireline/hub"
)

// call is a question that waits for its answers.
type call struct {
	id uint64

	// on is called with each answer, in the goroutine that all answers go through. It must not
	// wait. The last one may be an error, which tells that no other answer comes.
	on func(answer)

	// at is the node where a request is under way. calls.mu guards it, and fresh.
	at    nodeID
	fresh bool // accepted since the last tick
}

// calls are the questions under way.
type calls struct {
	mu     sync.Mutex
	last   uint64
	ended  error // why no call can begin
	active map[uint64]*call
}

// begin notes a call. The caller has to end it.
func (c *calls) begin(on func(answer)) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	if c.active == nil {
		c.active = make(map[uint64]*call)
	}
	c.last++
	k := &call{id: c.last, on: on}
	c.active[k.id] = k
	return k, nil
}

// end forgets a call.
func (c *calls) end(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.active, k.id)
}

// answer gives an answer to its call, if that is still under way. An error ends the call.
func (c *calls) answer(id uint64, a answer) {
	c.mu.Lock()
	k := c.active[id]
	if a.err != nil {
		delete(c.active, id)
	}
	if k != nil && a.verdict == verdictAccepted && len(a.data) == len(k.at) {
		k.at, k.fresh = nodeID(a.data), true
	}
	c.mu.Unlock()
	if k != nil {
		k.on(a)
	}
}

// fail ends all calls. If closed is true, no other can begin.
func (c *calls) fail(err error, closed bool) {
	c.mu.Lock()
	if closed {
		c.ended = err
	}
	active := c.active
	c.active = nil
	c.mu.Unlock()
	for _, k := range active {
		k.on(answer{err: err})
	}
}

// accepted returns the requests that are under way at other nodes, and were so at the last tick.
func (c *calls) accepted() map[nodeID][]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids map[nodeID][]uint64
	for id, k := range c.active {
		switch {
		case k.at == nodeID{}:
		case k.fresh:
			k.fresh = false
		default:
			if ids == nil {
				ids = make(map[nodeID][]uint64)
			}
			ids[k.at] = append(ids[k.at], id)
		}
	}
	return ids
}

// lose ends the requests that are under way at a node.
func (c *calls) lose(node nodeID) {
	c.mu.Lock()
	var ids []uint64
	for id, k := range c.active {
		if k.at == node {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	for _, id := range ids {
		c.answer(id, answer{err: hub.ErrLost})
	}
}

// replyTo is the subject for the answers to a call.
func (b *Bus) replyTo(id uint64) string {
	return b.answers + string(hexUint64(id))
}

func hexUint64(n uint64) []byte {
	out := make([]byte, 16)
	for i := range out {
		out[i] = hexDigits[n>>(60-4*i)&15]
	}
	return out
}

// callID is the id in the subject of an answer; zero if there is none.
func (b *Bus) callID(subject string) uint64 {
	var id [8]byte
	token, ok := strings.CutPrefix(subject, b.answers)
	if n, err := hex.Decode(id[:], []byte(token[:min(len(token), 16)])); !ok || err != nil || n != len(id) {
		return 0
	}
	c := cursor{rest: id[:]}
	return c.uint64()
}

// post sends a message, or says why it cannot.
func (b *Bus) post(subject, reply string, data []byte) error {
	return b.put(post{subject: subject, reply: reply, data: data})
}

func (b *Bus) put(p post) error {
	switch {
	case !b.link.up.Load():
		return b.whyDown()
	case int64(len(p.data)) > b.maxPayload.Load():
		return fmt.Errorf("natsbus: a message of %d bytes: the server allows %d", len(p.data), b.maxPayload.Load())
	case !b.outbox.put(p):
		return ErrBusy
	}
	b.out.Add(1)
	return nil
}

// whyDown is the error of what cannot be sent.
func (b *Bus) whyDown() error {
	if b.ctx.Err() != nil {
		return hub.ErrClosed
	}
	return hub.ErrAway
}

// question is a call whose answers its caller waits for.
type question struct {
	*call
	bus     *Bus
	subject string
	answers chan answer
	timeout *time.Timer
}

// begin asks a question, and gives it Timeout.
func (b *Bus) begin(subject string, message func(id uint64) []byte) (*question, error) {
	answers := make(chan answer, 8) // the answers of processes that share a key; others are one or two
	k, err := b.calls.begin(func(a answer) {
		select {
		case answers <- a:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	q := &question{k, b, subject, answers, time.NewTimer(b.timeout())}
	if err := b.post(subject, b.replyTo(k.id), message(k.id)); err != nil {
		q.end()
		return nil, err
	}
	return q, nil
}

func (q *question) end() {
	q.timeout.Stop()
	q.bus.calls.end(q.call)
}

// next waits for an answer. It returns hub.ErrLost if none comes in time, and the cause of the end
// of ctx.
func (q *question) next(ctx context.Context) (answer, error) {
	select {
	case a := <-q.answers:
		return a, a.err
	case <-q.timeout.C:
		return answer{}, hub.ErrLost
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// sharedWait is how long the answers of others that share a key are waited for after the first one
// that is an error.
const sharedWait = 100 * time.Millisecond

// best waits for an answer, or, if the key is shared, for the first that is no error. The error is
// that of the answer.
func (q *question) best(ctx context.Context) (answer, error) {
	var first error
	shared := false
	for {
		a, err := q.next(ctx)
		shared = shared || a.verdict&verdictShared != 0
		a.verdict, a.shared = a.verdict&^verdictShared, shared
		if err == nil && a.verdict == verdictError {
			err = decodeError(a.data)
			if first == nil {
				first = err
			}
			if shared {
				q.timeout.Reset(sharedWait)
				continue
			}
		}
		if err != nil && first != nil {
			return answer{shared: shared}, first
		}
		return a, err
	}
}

// ask asks a question, and waits for the best answer.
func (b *Bus) ask(ctx context.Context, subject string, message []byte) (answer, error) {
	q, err := b.begin(subject, func(uint64) []byte { return message })
	if err != nil {
		return answer{}, err
	}
	defer q.end()
	return q.best(ctx)
}
