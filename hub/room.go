package hub

import (
	"context"
	"slices"
	"sync"

	"wireline/handler"
)

// room is a room that somebody is in. A member and a room know where they stand in each other's
// list, so that one may leave in the same time whatever their size. Hub.mu guards both lists.
type room struct {
	name    string
	members []occupant
}

// occupant is a member in a room, and the index of the room in member.rooms.
type occupant struct {
	*member
	at int
}

// place is a room that a member is in, and the member's index in room.members.
type place struct {
	room  *room
	index int
}

// placeIn returns the index of a room in m.rooms, or -1. There are at most MaxRooms.
func (m *member) placeIn(r *room) int {
	return slices.IndexFunc(m.rooms, func(p place) bool { return p.room == r })
}

// Enter puts c into a room, which need not exist: it does while somebody is in it. It does nothing
// if c is there already. The error is ErrNotJoined, ErrName or ErrTooManyRooms.
//
// With a Bus, Enter does not wait for the broker: what other processes publish arrives from the
// moment on at which the broker knows that this process listens to the room.
func (h *Hub) Enter(c *handler.Client, name string) error {
	if err := h.checkName(name); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.unlock()
	m, r := h.members[c], h.rooms[name]
	switch {
	case m == nil:
		return ErrNotJoined
	case r != nil && m.placeIn(r) >= 0:
		return nil
	case len(m.rooms) >= limit(h.MaxRooms, defaultMaxRooms):
		return ErrTooManyRooms
	}
	if r == nil {
		r = &room{name: name}
		h.rooms[name] = r
		h.tuneLocked(name)
	}
	h.memberships++
	m.rooms = append(m.rooms, place{r, len(r.members)})
	r.members = append(r.members, occupant{m, len(m.rooms) - 1})
	return nil
}

// Exit takes c out of a room. It does nothing if c is not in it.
func (h *Hub) Exit(c *handler.Client, name string) {
	h.mu.Lock()
	defer h.unlock()
	m, r := h.members[c], h.rooms[name]
	if m == nil || r == nil {
		return
	}
	at := m.placeIn(r)
	if at < 0 {
		return
	}
	h.takeOutLocked(m.rooms[at])
	last := len(m.rooms) - 1
	if moved := m.rooms[last]; at != last {
		m.rooms[at] = moved
		moved.room.members[moved.index].at = at
	}
	m.rooms[last] = place{}
	m.rooms = m.rooms[:last]
}

// takeOutLocked takes a member out of a room's list. The member's own list still has the place.
func (h *Hub) takeOutLocked(p place) {
	h.memberships--
	r, last := p.room, len(p.room.members)-1
	if moved := r.members[last]; p.index != last {
		r.members[p.index] = moved
		moved.rooms[moved.at].index = p.index
	}
	r.members[last] = occupant{}
	r.members = r.members[:last]
	switch {
	case last == 0:
		delete(h.rooms, r.name)
		h.tuneLocked(r.name)
	case cap(r.members) >= 64 && last < cap(r.members)/4: // a crowd has left
		r.members = append(make([]occupant, 0, 2*last), r.members...)
	}
}

// Published is what Publish has done in this process.
type Published struct {
	Sent int // clients whose connections have taken the message or have it queued
	Slow int // clients that were passed over because MaxPending bytes are pending for them
	Gone int // clients that have ended meanwhile, or whose codec cannot encode the message
}

// Publish sends payload as a frame to all clients in a room, each at most once. It is encoded once
// for all clients of a handler.Frames with its codec. A client that reads too slowly is passed over, or ended if
// Frames.WhenSlow says so; nobody waits for it. The messages of one goroutine arrive in their
// order. Messages of several goroutines to one room may arrive in a different order at different
// clients.
//
// With a Bus, the message then goes to the other processes, which are not waited for. If they
// cannot be reached, the error wraps ErrAway; the clients of this process have the message.
//
// ctx may end the work between two clients; then the error is its cause, and no other process has
// the message. Otherwise the error is nil, also if nobody is in the room.
func (h *Hub) Publish(ctx context.Context, name string, payload []byte) (Published, error) {
	p, err := h.publishHere(ctx, name, payload)
	if err == nil && h.Bus != nil {
		err = h.publishThere(name, payload)
	}
	h.counts.publishes.add(err)
	return p, err
}

// publishThere is Publish to the clients of other processes.
func (h *Hub) publishThere(name string, payload []byte) error {
	if err := h.reach(name); err != nil {
		return err
	}
	return h.Bus.Publish(name, payload)
}

// publishHere is Publish to the clients of this process.
func (h *Hub) publishHere(ctx context.Context, name string, payload []byte) (p Published, err error) {
	defer func() { h.counts.publishes.addDeliveries(p) }()
	list := lists.Get().(*[]*handler.Client)
	defer putList(list)
	*list = h.appendRoom((*list)[:0], name)
	m := handler.Message{Payload: payload}
	for _, c := range *list {
		if ctx.Err() != nil {
			return p, context.Cause(ctx)
		}
		switch err := c.Offer(&m); {
		case err == nil:
			p.Sent++
		case isSlow(err):
			p.Slow++
		default:
			p.Gone++
		}
	}
	return p, nil
}

// lists holds lists of clients, for the time in which they are written to.
var lists = sync.Pool{New: func() any { return new([]*handler.Client) }}

// putList puts a list back, without the clients that it would keep in memory.
func putList(list *[]*handler.Client) {
	clear(*list)
	lists.Put(list)
}

// appendRoom adds the clients in a room to list.
func (h *Hub) appendRoom(list []*handler.Client, name string) []*handler.Client {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r := h.rooms[name]; r != nil {
		for _, o := range r.members {
			list = append(list, o.client)
		}
	}
	return list
}
