package natsbus

import "context"

// Presence implements hub.Bus. It asks all nodes: with JetStream too, since an entry in a replicated
// log for each Enter would cost more than a question for each Presence. The error wraps ErrLost if
// one of them has not answered within Timeout. One that has not been heard four times is not waited
// for; while its connection to the server is there, the error says that its keys are not known.
func (b *Bus) Presence(ctx context.Context, room string) (keys []string, err error) {
	if b.nodes.none() && b.link.up.Load() {
		return nil, nil
	}
	message := append([]byte{byte(kindPresence)}, room...)
	err = b.askAll(ctx, message, func(body cursor) {
		for len(body.rest) > 0 && !body.bad {
			keys = append(keys, body.text())
		}
	})
	return keys, err
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
