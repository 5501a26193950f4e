package hub

import (
	"context"
	"errors"

	"wireline/handler"
)

// Send sends payload as a frame to the client with the key; with AllowBoth, to all of them. It does
// not wait for a client. A nil error means that the connection has taken the message or has it
// queued, not that the client has received it; with AllowBoth, one connection is enough.
//
// With a Bus, a message that is not for a client of this process goes to the process that has the
// client, and Send waits for the answer of that process, or until ctx ends. With AllowBoth it goes to
// the clients of all processes.
//
// The error is ErrUnknown if no client has the key, handler.ErrSlowReader if the client reads too
// slowly, handler.ErrClosed if it has ended meanwhile, or one of its codec. With a Bus it may also
// wrap ErrAway or ErrLost, be the cause of the end of ctx, or another of the Bus; ErrName if no
// client can have the key.
func (h *Hub) Send(ctx context.Context, key string, payload []byte) error {
	err := h.send(ctx, key, payload)
	h.counts.sends.add(err)
	return err
}

func (h *Hub) send(ctx context.Context, key string, payload []byte) error {
	here := h.sendHere(key, payload)
	if h.isDone(here) {
		return here
	}
	if err := h.reach(key); err != nil {
		return err
	}
	return either(here, h.Bus.Send(ctx, key, payload))
}

// isDone reports whether a call for a key has done its work in this process, with the result here. If
// not, other processes are to do it too.
func (h *Hub) isDone(here error) bool {
	return h.Bus == nil || here != ErrUnknown && h.Second != AllowBoth
}

// either is the result of a call for a key in this process and in others: it is enough that one
// client was reached.
func either(here, there error) error {
	switch {
	case here == nil || there == nil:
		return nil
	case errors.Is(here, ErrUnknown):
		return there
	case errors.Is(there, ErrUnknown):
		return here
	}
	return errors.Join(here, there)
}

// sendHere is Send to the clients of this process.
func (h *Hub) sendHere(key string, payload []byte) error {
	h.mu.RLock()
	k := h.keys[key]
	h.mu.RUnlock()
	m := handler.Message{Payload: payload}
	switch {
	case k.newest == nil:
		return ErrUnknown
	case k.only == nil:
		return h.sendToEach(key, &m)
	}
	return k.only.Offer(&m)
}

// sendToEach sends a message to all clients of this process with the key.
func (h *Hub) sendToEach(key string, m *handler.Message) error {
	list := lists.Get().(*[]*handler.Client)
	defer putList(list)
	*list = h.appendKey((*list)[:0], key)
	var errs []error
	for _, c := range *list {
		if err := c.Offer(m); err != nil {
			errs = append(errs, err)
		}
	}
	switch {
	case len(*list) == 0: // they have left meanwhile
		return ErrUnknown
	case len(errs) < len(*list):
		return nil
	}
	return errors.Join(errs...)
}

// isSlow reports whether a message was refused because the client reads too slowly.
func isSlow(err error) bool { return errors.Is(err, handler.ErrSlowReader) }

// appendKey adds the clients that have the key to list, the newest first.
func (h *Hub) appendKey(list []*handler.Client, key string) []*handler.Client {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for m := h.keys[key].newest; m != nil; m = m.older {
		list = append(list, m.client)
	}
	return list
}
