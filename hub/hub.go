package hub

import (
	"context"
	"errors"
	"sync"

	"wireline/handler"
	"wireline/lib/sync/wait"
)

// Second says what happens when a client joins with a key that another client has.
type Second int

const (
	// RefuseSecond lets the first client keep the key: Join of the second returns ErrTaken. It is
	// the default.
	RefuseSecond Second = iota
	// KickFirst gives the key to the second client, and closes the first one with CloseFor and
	// ErrReplaced.
	KickFirst
	// AllowBoth lets several clients have the same key. Send goes to all of them.
	AllowBoth
)

// The limits that hold if those of a Hub are zero.
const (
	defaultMaxRooms = 100
	defaultMaxName  = 255
)

var (
	// ErrTaken is returned by Join when another client has the key.
	ErrTaken = errors.New("hub: the key is taken")
	// ErrReplaced is the error of the record of a client whose key has gone to a newer client. Join
	// returns it if the key went to another process before Join was done.
	ErrReplaced = errors.New("hub: replaced by a newer client with the same key")
	// ErrNotJoined is returned for a client that has not joined, or has left.
	ErrNotJoined = errors.New("hub: the client has not joined")
	// ErrUnknown is returned by Send and Request when no client has the key.
	ErrUnknown = errors.New("hub: no client has the key")
	// ErrTooManyRooms is returned by Enter for a client that is in MaxRooms rooms.
	ErrTooManyRooms = errors.New("hub: the client is in too many rooms")
	// ErrName is returned for a key or a room whose name is empty or longer than MaxName.
	ErrName = errors.New("hub: a name is empty or too long")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("hub: closed")
)

// Hub knows clients by key and by room. The zero value is ready to use. Set the fields before the
// first call of a method. All methods are safe for concurrent use; the functions of handler.Frames
// may call them. A Hub must not be copied.
//
// Its clients may be of several handlers, and with a Bus, of several processes.
type Hub struct {
	// Name tells the hub from others where it is shown, as in metrics. Empty means "default".
	Name string

	// Second decides about a client that joins with a key that another client has. Zero means
	// RefuseSecond.
	Second Second

	// MaxRooms is how many rooms a client may be in. Zero or less means 100. Enter and Exit look
	// through the rooms of their client.
	MaxRooms int

	// MaxName is how many bytes a key or the name of a room may have. Zero or less means 255.
	MaxName int

	// ID returns the id that a request and its answer have in common; ok is false for a frame
	// that has none. Request and Answer need it. It must not keep the frame, nor block.
	ID func(frame []byte) (id string, ok bool)

	// Bus joins the hub with those of other processes. Nil means that there are none. The hub owns
	// it: it calls Start, and Close closes it. Second must be the same in all processes.
	Bus Bus

	starting sync.Once
	startErr error

	mu      sync.RWMutex
	closed  bool
	members map[*handler.Client]*member
	keys    map[string]holder
	rooms   map[string]*room

	memberships            int // of all members in their rooms
	joined, left, replaced int64

	// With a bus. unlock does what is due.
	claims    map[string]*claim
	listening map[string]*listening
	due       due

	leaving wait.Wait // members that have not left, and Joins that wait for the bus

	counts counts
}

// member is a client that has joined. Hub.mu guards it, but for requests.
type member struct {
	hub    *Hub
	client *handler.Client
	key    string
	older  *member // with the same key, with AllowBoth
	newer  *member
	rooms  []place
	kicked bool
	forget func() bool // ends the watch of the client's end

	requests requests
}

// holder names the clients that have a key.
type holder struct {
	newest *member
	only   *handler.Client // nil if there are several: Send finds it without looking at the member
}

// Join makes c known under the key. A client that has joined before gets the new key in the place
// of the old one, and stays in its rooms. It leaves by itself when it ends, and by Leave.
//
// With a Bus, Join may wait for the broker, and for another Join with the key, until c ends. It does
// not wait if a client of this process has the key already.
//
// The error is ErrTaken, ErrName, ErrClosed, or handler.ErrClosed for a client that has ended. With a
// Bus it may also be ErrReplaced, and then c is closed, or another of the Bus. While the bus is
// away, a Join that needs it fails with ErrAway; with AllowBoth none does.
func (h *Hub) Join(c *handler.Client, key string) error {
	err := h.join(c, key)
	h.counts.addJoin(err)
	return err
}

func (h *Hub) join(c *handler.Client, key string) error {
	if err := h.checkName(key); err != nil {
		return err
	}
	if h.Bus != nil {
		return h.joinOwned(c, key)
	}
	h.mu.Lock()
	return h.joinAndUnlock(c, key)
}

// joinAndUnlock joins c if this process may decide alone about the key.
func (h *Hub) joinAndUnlock(c *handler.Client, key string) error {
	kicked, err := h.joinLocked(c, key)
	h.unlock()
	if kicked != nil {
		kicked.CloseFor(ErrReplaced)
	}
	return err
}

// joinLocked returns the client that has to be closed, after the lock is released.
func (h *Hub) joinLocked(c *handler.Client, key string) (kicked *handler.Client, err error) {
	ctx := c.Context()
	if err := h.refusesLocked(ctx); err != nil {
		return nil, err
	}
	m, taken := h.members[c], h.Second != AllowBoth && h.liveLocked(key) != nil
	switch {
	case m != nil && m.key == key:
		return nil, nil
	case taken && h.Second == RefuseSecond:
		return nil, ErrTaken
	}
	if m == nil {
		m = h.addLocked(ctx, c)
	} else {
		h.dropKeyLocked(m)
	}
	h.takeKeyLocked(m, key)
	if taken {
		kicked = m.older.client
		h.replaced++
	}
	if h.Second != AllowBoth && m.older != nil { // one at most
		h.removeLocked(m.older)
	}
	return kicked, nil
}

// refusesLocked says why a client cannot join, whatever its key is.
func (h *Hub) refusesLocked(ctx context.Context) error {
	if h.closed {
		return ErrClosed
	}
	return context.Cause(ctx) // if it has ended, it is about to leave
}

// liveLocked returns the newest member with the key; nil if there is none. One that has ended, and is
// about to leave, does not count: a device that has lost its connection must not find its key taken.
func (h *Hub) liveLocked(key string) *member {
	m := h.keys[key].newest
	for m != nil && m.client.Context().Err() != nil {
		m = m.older
	}
	return m
}

// addLocked makes a member of c.
func (h *Hub) addLocked(ctx context.Context, c *handler.Client) *member {
	if h.members == nil {
		h.members = make(map[*handler.Client]*member)
		h.keys = make(map[string]holder)
		h.rooms = make(map[string]*room)
	}
	m := &member{hub: h, client: c}
	h.members[c] = m
	h.joined++
	h.leaving.Add(1)
	m.forget = context.AfterFunc(ctx, m.leave)
	return m
}

// leave is called when the client has ended.
func (m *member) leave() {
	defer m.hub.leaving.Done()
	m.requests.end()
	m.hub.mu.Lock()
	m.hub.removeLocked(m)
	m.hub.unlock()
}

// takeKeyLocked gives m the key, before those that have it already.
func (h *Hub) takeKeyLocked(m *member, key string) {
	m.key, m.older = key, h.keys[key].newest
	if m.older != nil {
		m.older.newer = m
	}
	h.setHolderLocked(key, m)
}

// setHolderLocked notes the clients that have a key, after a change. newest is not nil.
func (h *Hub) setHolderLocked(key string, newest *member) {
	k := holder{newest: newest}
	if newest.older == nil {
		k.only = newest.client
	}
	h.keys[key] = k
}

// dropKeyLocked takes the key away from m, and from no other.
func (h *Hub) dropKeyLocked(m *member) {
	if m.older != nil {
		m.older.newer = m.newer
	}
	switch {
	case m.newer != nil:
		m.newer.older = m.older
		h.setHolderLocked(m.key, h.keys[m.key].newest)
	case m.older != nil:
		h.setHolderLocked(m.key, m.older)
	default:
		delete(h.keys, m.key)
		h.giveUpLocked(m.key)
	}
	m.older, m.newer = nil, nil
}

// removeLocked takes m out of the hub, unless it is out already.
func (h *Hub) removeLocked(m *member) {
	if h.members[m.client] != m {
		return
	}
	delete(h.members, m.client)
	h.left++
	h.dropKeyLocked(m)
	for _, p := range m.rooms {
		h.takeOutLocked(p)
	}
	m.rooms = nil
}

// Leave takes c out of the hub, with its key and its rooms. It does nothing if c has not joined.
func (h *Hub) Leave(c *handler.Client) {
	h.mu.Lock()
	m := h.members[c]
	if m != nil {
		h.removeLocked(m)
	}
	h.unlock()
	if m != nil && m.forget() {
		m.requests.end()
		h.leaving.Done()
	}
}

// unlock releases mu, and then calls the bus about what has changed under it.
func (h *Hub) unlock() {
	work := h.due
	h.due = due{}
	h.mu.Unlock()
	for _, cl := range work.claims {
		cl.release()
	}
	for _, room := range work.rooms {
		h.tune(room)
	}
}

// due are the claims to give up, and the rooms that have got their first client or lost the last.
type due struct {
	claims []*claim
	rooms  []string
}

// Close takes all clients out of the hub, without closing them, and ends their requests. Nobody
// can join afterwards. It closes the Bus, whose error it returns.
func (h *Hub) Close() error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	var all []*handler.Client
	for c := range h.members {
		all = append(all, c)
	}
	h.mu.Unlock()
	for _, c := range all {
		h.Leave(c)
	}
	var err error
	if first && h.Bus != nil {
		h.starting.Do(func() { h.startErr = ErrClosed })
		err = h.Bus.Close()
	}
	h.leaving.Wait()
	return err
}

// checkName checks a key or the name of a room.
func (h *Hub) checkName(name string) error {
	if name == "" || len(name) > limit(h.MaxName, defaultMaxName) {
		return ErrName
	}
	return nil
}

// limit returns a limit that is set, or else the default.
func limit(set, otherwise int) int {
	if set > 0 {
		return set
	}
	return otherwise
}
