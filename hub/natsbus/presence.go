package natsbus

import (
	"context"
	"errors"
	"sync"
	"time"

	"wireline/hub"
)

// Presence implements hub.Bus. It asks all nodes: with JetStream too, since an entry in a replicated
// log for each Enter would cost more than a question for each Presence. The error wraps ErrLost if
// one of them has not answered within Timeout. One that has not been heard four times is not waited
// for; while its connection to the server is there, the error says that its keys are not known.
func (b *Bus) Presence(ctx context.Context, room string) ([]string, error) {
	there, silent := b.nodes.all()
	p := presence{waiting: there, silent: silent, changed: make(chan struct{}, 1)}
	if len(there)+len(silent) == 0 && b.link.up.Load() {
		return nil, nil
	}
	k, err := b.calls.begin(p.add)
	if err != nil {
		return nil, err
	}
	defer b.calls.end(k)
	message := append([]byte{byte(kindPresence)}, room...)
	if err := b.post(b.names.all(), b.replyTo(k.id), message); err != nil {
		return nil, err
	}
	timer := time.NewTimer(b.timeout())
	defer timer.Stop()
	for {
		if keys, err, done := p.result(); done {
			return keys, err
		}
		select {
		case <-p.changed:
		case <-timer.C:
			keys, _, _ := p.result()
			return keys, hub.ErrLost
		case <-ctx.Done():
			keys, _, _ := p.result()
			return keys, context.Cause(ctx)
		}
	}
}

// presence collects the answers of nodes.
type presence struct {
	mu      sync.Mutex
	waiting map[nodeID]bool
	silent  map[nodeID]bool // not waited for
	keys    []string
	err     error
	changed chan struct{} // has room for one
}

func (p *presence) add(a answer) {
	c := cursor{rest: a.data}
	p.mu.Lock()
	switch {
	case errors.Is(a.err, errNobody): // all have gone
		clear(p.waiting)
		clear(p.silent)
	case a.err != nil:
		p.err = a.err
	default:
		if id := c.node(); a.verdict == verdictOK {
			delete(p.waiting, id)
			delete(p.silent, id)
		}
		for len(c.rest) > 0 && !c.bad {
			p.keys = append(p.keys, c.text())
		}
	}
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// result returns the keys up to now. done says that there will be no more.
func (p *presence) result() (keys []string, err error, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done = p.err != nil || len(p.waiting) == 0
	if err = p.err; err == nil && len(p.silent) > 0 {
		err = hub.ErrLost
	}
	return p.keys, err, done
}

// presencePart is how many bytes one answer to a kindPresence has at most, or little more.
const presencePart = 64 << 10

// servePresence answers which keys are in a room, in several messages if there are many.
func (b *Bus) servePresence(room, reply string) {
	limit := min(presencePart, int(b.maxPayload.Load())/2)
	part := append([]byte(nil), b.id[:]...)
	for _, key := range b.local.Present(room) {
		if len(part) > limit {
			b.respond(reply, verdictMore, part)
			part = part[:len(b.id)]
		}
		part = appendText(part, key)
	}
	b.respond(reply, verdictOK, part)
}
