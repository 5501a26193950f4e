package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"wireline/hub"
)

var errTooManyRooms = errors.New("there are too many rooms; enter one of /list")

// rooms are the rooms that users of this process are in.
type rooms struct {
	hub     *hub.Hub
	max     int // how many
	history int // messages that each of them keeps

	mu  sync.Mutex
	all map[string]*room
}

// get returns a room for a user who is about to enter it. put must be called when the user has left
// it, or has not entered it.
func (r *rooms) get(name string) (*room, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.all[name]
	if one == nil {
		if len(r.all) >= r.max {
			return nil, errTooManyRooms
		}
		one = &room{name: name, hub: r.hub, recent: history{size: r.history}}
		r.all[name] = one
	}
	one.users++
	return one, nil
}

// find returns a room that somebody is in or about to enter, or nil.
func (r *rooms) find(name string) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[name]
}

// put notes that a user has left a room.
func (r *rooms) put(one *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(r.all, one.name)
	}
}

// list returns the names of the rooms with how many users they have, the largest first.
func (r *rooms) list() (texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	type size struct {
		name  string
		users int
	}
	var sizes []size
	for name, one := range r.all {
		sizes = append(sizes, size{name, one.users})
	}
	slices.SortFunc(sizes, func(a, b size) int {
		return cmp.Or(cmp.Compare(b.users, a.users), cmp.Compare(a.name, b.name))
	})
	for _, one := range sizes {
		texts = append(texts, fmt.Sprintf("%s (%d)", one.name, one.users))
	}
	return texts
}
