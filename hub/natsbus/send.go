package natsbus

import (
	"context"
	"encoding/binary"
	"errors"

	"wireline/hub"
)

// keyMessage is a message for the process that has a key.
type keyMessage struct {
	kind
	key    string
	body   []byte
	reply  string
	direct bool // to this process alone
}

// owner is a claim of a process.
type owner struct {
	node   nodeID
	number uint64
}

func (o owner) encode() []byte {
	return binary.BigEndian.AppendUint64(append([]byte(nil), o.node[:]...), o.number)
}

func decodeOwner(data []byte) owner {
	c := cursor{rest: data}
	return owner{c.node(), c.uint64()}
}

// direct returns a message to the process that owns a key.
func (o owner) direct(key string, message []byte) []byte {
	head := binary.BigEndian.AppendUint64([]byte{byte(kindDirect)}, o.number)
	return append(appendText(head, key), message...)
}

// Send implements hub.Bus.
func (b *Bus) Send(ctx context.Context, key string, payload []byte) error {
	_, err := b.askKey(ctx, key, append([]byte{byte(kindSend)}, payload...))
	return err
}

// Has implements hub.Bus.
func (b *Bus) Has(ctx context.Context, key string) (bool, error) {
	_, err := b.askKey(ctx, key, []byte{byte(kindHas)})
	if errors.Is(err, hub.ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

// askKey asks the process that has a key, and waits for its answer.
func (b *Bus) askKey(ctx context.Context, key string, message []byte) (answer, error) {
	q, a, err := b.reach(ctx, key, func(uint64) []byte { return message })
	if q != nil {
		q.end()
	}
	return a, err
}

// reach asks the process that has a key, and returns its first answer. The error is ErrUnknown if
// there is none. The caller ends the question, if there is one.
func (b *Bus) reach(ctx context.Context, key string, message func(id uint64) []byte) (*question, answer, error) {
	subject, err := b.names.key(key)
	if err != nil {
		return nil, answer{}, err
	}
	if b.owner != nil && !b.claims.shared.Load() {
		q, a, err := b.owner.reach(ctx, key, message)
		if !errors.Is(err, errNoEntry) {
			return q, a, err
		}
	}
	return b.reachAt(ctx, subject, message)
}

// reachOwner asks one process that has a key.
func (b *Bus) reachOwner(ctx context.Context, at owner, key string, message func(id uint64) []byte) (*question, answer, error) {
	return b.reachAt(ctx, b.names.node(at.node), func(id uint64) []byte { return at.direct(key, message(id)) })
}

func (b *Bus) reachAt(ctx context.Context, subject string, message func(id uint64) []byte) (*question, answer, error) {
	q, err := b.begin(subject, message)
	if err != nil {
		return nil, answer{}, err
	}
	a, err := q.best(ctx)
	if errors.Is(err, errNobody) {
		err = hub.ErrUnknown
	}
	return q, a, err
}

// serveKey serves a message that has come by the subject of a key.
func (b *Bus) serveKey(m *keyMessage) {
	if m.kind == kindClaim {
		b.serveClaim(m)
		return
	}
	c, state := b.claims.get(m.key)
	if c == nil || state >= losing { // the subscription is about to end
		b.respondTo(m.reply, b.claims.shared.Load(), nil, hub.ErrUnknown)
		return
	}
	b.serveOwned(m, c)
}

// serveOwned serves a message for a key that this process has.
func (b *Bus) serveOwned(m *keyMessage, c *claim) {
	shared := c.second == hub.AllowBoth
	switch m.kind {
	case kindSend:
		b.finishOwned(m, c, nil, b.local.SendLocal(m.key, m.body))
	case kindKick:
		b.finishOwned(m, c, nil, b.local.KickLocal(m.key, string(m.body)))
	case kindHas:
		b.respondTo(m.reply, shared, nil, nil)
	case kindRequest:
		if shared && !m.direct {
			b.respond(m.reply, verdictMoved|verdictShared, owner{b.id, c.number}.encode())
			return
		}
		b.serveRequest(m, c)
	}
}

// serveDirect serves a message to this process for a key that it owns, or did.
func (b *Bus) serveDirect(body []byte, reply string) {
	head := cursor{rest: body}
	number, key := head.uint64(), head.text()
	m := &keyMessage{kind: kind(head.byte()), key: key, body: head.rest, reply: reply, direct: true}
	if head.bad {
		return
	}
	c, state := b.claims.get(key)
	switch {
	case c == nil || c.number != number:
		b.respond(reply, verdictMoved, nil)
	case m.kind == kindRelease:
		b.lose(c, func() { b.respond(reply, verdictReleased, nil) })
	case state >= losing:
		b.respond(reply, verdictMoved, nil)
	case m.kind != kindHas && (state == claiming || !b.sure(c)):
		b.respond(reply, verdictChecking, nil)
	default:
		b.serveOwned(m, c)
	}
}

// sure reports whether a claim is beyond doubt.
func (b *Bus) sure(c *claim) bool {
	return c.second == hub.AllowBoth || b.owner == nil || b.owner.sure(c)
}

// finishOwned answers with what a function of the hub has returned. If the lease has run out while
// it worked, another process may have the key, and may have had it before the function did
// anything: then the answer is ErrLost.
func (b *Bus) finishOwned(m *keyMessage, c *claim, data []byte, err error) {
	shared := c.second == hub.AllowBoth
	if b.owner != nil && !shared && !b.owner.valid() {
		err = hub.ErrLost
	}
	b.respondTo(m.reply, shared, data, err)
}
