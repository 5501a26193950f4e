package natsbus

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"wireline/hub"
)

const (
	// maxServed is how many requests of other processes may wait for clients of this one.
	maxServed = 100_000

	// maxProbed is how many requests one probe asks about.
	maxProbed = 1000

	// maxUnprobed is how many ticks the process that made a request may be silent about it.
	maxUnprobed = 15
)

// Request implements hub.Bus. It waits as long as the client does not answer, and asks the other
// process once in a heartbeat whether the request is still under way there.
func (b *Bus) Request(ctx context.Context, key string, payload []byte) ([]byte, error) {
	message := func(id uint64) []byte {
		head := append([]byte{byte(kindRequest)}, b.id[:]...)
		return append(binary.BigEndian.AppendUint64(head, id), payload...)
	}
	q, a, err := b.reach(ctx, key, message)
	if err == nil && a.verdict == verdictMoved { // the key is shared: one of its owners gets the request
		q.end()
		q, a, err = b.reachOwner(ctx, decodeOwner(a.data), key, message)
	}
	if q == nil {
		return nil, err
	}
	defer q.end()
	if err != nil || a.verdict != verdictAccepted {
		return a.data, err
	}
	q.timeout.Stop()
	if len(a.data) != len(nodeID{}) {
		return nil, hub.ErrLost
	}
	at := nodeID(a.data)
	a, err = q.best(ctx)
	if context.Cause(ctx) != nil && err != nil {
		b.cancel(at, q.id)
	}
	return a.data, err
}

// cancel tells a node that nobody waits for the answer to a request. If the message is lost, the node
// finds out by itself.
func (b *Bus) cancel(at nodeID, id uint64) {
	message := append([]byte{byte(kindCancel)}, b.id[:]...)
	b.post(b.names.node(at), "", binary.BigEndian.AppendUint64(message, id))
}

// servedID names a request of another node.
type servedID struct {
	node nodeID
	id   uint64
}

// served is a request of another node that waits for a client of this process.
type served struct {
	cancel context.CancelFunc
	quiet  int // ticks since the last probe
}

// serving are the requests of other nodes that are under way here.
type serving struct {
	mu     sync.Mutex
	closed bool
	active map[servedID]*served
	done   sync.WaitGroup
}

// begin notes a request. It returns false if there are too many.
func (s *serving) begin(id servedID, cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.active) >= maxServed {
		return false
	}
	if s.active == nil {
		s.active = make(map[servedID]*served)
	}
	s.active[id] = &served{cancel: cancel}
	s.done.Add(1)
	return true
}

func (s *serving) end(id servedID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, id)
	s.done.Done()
}

func (s *serving) cancel(id servedID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.active[id]; r != nil {
		r.cancel()
	}
}

// missing returns those of ids that are not under way.
func (s *serving) missing(node nodeID, ids []uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(ids, func(id uint64) bool {
		r := s.active[servedID{node, id}]
		if r != nil {
			r.quiet = 0
		}
		return r != nil
	})
}

// tick cancels the requests of nodes that do not ask for them any more.
func (s *serving) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.active {
		if r.quiet++; r.quiet > maxUnprobed {
			r.cancel()
		}
	}
}

// close waits until no request is under way, and lets none begin.
func (s *serving) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.done.Wait()
}

// serveRequest accepts a request, and answers it when the client has answered.
func (b *Bus) serveRequest(m *keyMessage, c *claim) {
	body := cursor{rest: m.body}
	id := servedID{body.node(), body.uint64()}
	if body.bad {
		return
	}
	ctx, cancel := context.WithCancel(b.ctx)
	if !b.serving.begin(id, cancel) {
		cancel()
		b.respondTo(m.reply, false, nil, ErrBusy)
		return
	}
	b.respond(m.reply, verdictAccepted, b.id[:])
	go func() {
		defer cancel()
		answer, err := b.local.RequestLocal(ctx, m.key, body.rest)
		if err != nil && b.ctx.Err() != nil {
			err = hub.ErrLost
		}
		b.finishOwned(m, c, answer, err)
		b.serving.end(id) // after the answer: a probe that finds nothing comes behind it
	}()
}

// probe asks the nodes with requests of this process whether they are still under way.
func (b *Bus) probe() {
	for node, ids := range b.calls.accepted() {
		for some := range slices.Chunk(ids, maxProbed) {
			b.probeNode(node, some)
		}
	}
}

func (b *Bus) probeNode(node nodeID, ids []uint64) {
	message := append([]byte{byte(kindProbe)}, b.id[:]...)
	for _, id := range ids {
		message = binary.BigEndian.AppendUint64(message, id)
	}
	b.loops.Go(func() {
		a, err := b.ask(b.ctx, b.names.node(node), message)
		lost := cursor{rest: a.data}
		switch {
		case errors.Is(err, hub.ErrAway) || b.ctx.Err() != nil: // the link ends the calls
		case err != nil:
			for _, id := range ids {
				b.calls.answer(id, answer{err: hub.ErrLost})
			}
		default:
			for len(lost.rest) >= 8 {
				b.calls.answer(lost.uint64(), answer{err: hub.ErrLost})
			}
		}
	})
}

// serveProbe answers which requests of a node are not under way here.
func (b *Bus) serveProbe(c *cursor, reply string) {
	node := c.node()
	var ids []uint64
	for len(c.rest) >= 8 {
		ids = append(ids, c.uint64())
	}
	var missing []byte
	for _, id := range b.serving.missing(node, ids) {
		missing = binary.BigEndian.AppendUint64(missing, id)
	}
	b.respond(reply, verdictOK, missing)
}
