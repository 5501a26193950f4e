package hub

import (
	"context"
	"errors"

	"wireline/handler"
)

// Kick closes the client with the key with CloseFor and why; with AllowBoth, all of them. It waits
// for another process as Send does. There, why is an error with the same text.
//
// The error is ErrUnknown if no client has the key, or if it has ended already. With a Bus it may also
// be another that Send may have. With AllowBoth, such an error says that clients of other processes
// may be there still; nil says that there was one at least, and that every process that the bus
// reaches has answered that it has none any more.
func (h *Hub) Kick(ctx context.Context, key string, why error) error {
	here := h.kickHere(key, why)
	if h.isDone(here) {
		return here
	}
	if err := h.reach(key); err != nil {
		return err
	}
	text := ""
	if why != nil {
		text = why.Error()
	}
	there := h.Bus.Kick(ctx, key, text)
	if errors.Is(there, ErrUnknown) {
		return here
	}
	return there
}

// kickHere is Kick of the clients of this process.
func (h *Hub) kickHere(key string, why error) error {
	list := lists.Get().(*[]*handler.Client)
	defer putList(list)
	*list = h.appendKicked((*list)[:0], key)
	if len(*list) == 0 {
		return ErrUnknown
	}
	for _, c := range *list {
		c.CloseFor(why)
	}
	h.counts.kicked.Add(int64(len(*list)))
	return nil
}

// appendKicked adds the clients that have the key to list, and notes that they are kicked. It leaves
// out those that were kicked before, or have ended: they are about to leave.
func (h *Hub) appendKicked(list []*handler.Client, key string) []*handler.Client {
	h.mu.Lock()
	defer h.mu.Unlock()
	for m := h.keys[key].newest; m != nil; m = m.older {
		if !m.kicked && m.client.Context().Err() == nil {
			m.kicked = true
			list = append(list, m.client)
		}
	}
	return list
}
