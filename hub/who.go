package hub

import (
	"context"
	"iter"

	"wireline/handler"
)

// Count returns how many clients of this process have joined.
func (h *Hub) Count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.members)
}

// CountIn returns how many clients of this process are in a room.
func (h *Hub) CountIn(name string) int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r := h.rooms[name]; r != nil {
		return len(r.members)
	}
	return 0
}

// Key returns the key of c; ok is false if c has not joined.
func (h *Hub) Key(c *handler.Client) (key string, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if m := h.members[c]; m != nil {
		return m.key, true
	}
	return "", false
}

// Rooms returns the names of the rooms that c is in, in no order.
func (h *Hub) Rooms(c *handler.Client) (names []string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if m := h.members[c]; m != nil {
		for _, p := range m.rooms {
			names = append(names, p.room.name)
		}
	}
	return names
}

// Has reports whether a client has the key. With a Bus, it asks the other processes if none of this
// process has it. Without one the error is nil.
func (h *Hub) Has(ctx context.Context, key string) (bool, error) {
	h.mu.RLock()
	here := h.liveLocked(key) != nil
	h.mu.RUnlock()
	if here || h.Bus == nil {
		return here, nil
	}
	if err := h.reach(key); err != nil {
		return false, err
	}
	return h.Bus.Has(ctx, key)
}

// Presence returns the keys of the clients in a room, in no order. With AllowBoth a key may be
// there several times.
//
// With a Bus, it asks the other processes, and waits for them. If some do not answer, it returns the
// keys that it has got, with an error. Without a Bus the error is nil.
func (h *Hub) Presence(ctx context.Context, name string) (keys []string, err error) {
	keys = h.presentHere(name)
	if h.Bus == nil {
		return keys, nil
	}
	if err := h.reach(name); err != nil {
		return keys, err
	}
	others, err := h.Bus.Presence(ctx, name)
	return append(keys, others...), err
}

// presentHere is Presence in this process.
func (h *Hub) presentHere(name string) (keys []string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r := h.rooms[name]; r != nil {
		for _, o := range r.members {
			keys = append(keys, o.key)
		}
	}
	return keys
}

// All returns an iterator over the keys and clients of this process that are in the hub now, in no order. The body
// of the loop may call any method.
func (h *Hub) All() iter.Seq2[string, *handler.Client] {
	type entry struct {
		key string
		c   *handler.Client
	}
	return func(yield func(string, *handler.Client) bool) {
		h.mu.RLock()
		all := make([]entry, 0, len(h.members))
		for c, m := range h.members {
			all = append(all, entry{m.key, c})
		}
		h.mu.RUnlock()
		for _, e := range all {
			if !yield(e.key, e.c) {
				return
			}
		}
	}
}
