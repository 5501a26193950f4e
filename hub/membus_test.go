package hub_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"wireline/hub"
)

// broker is where the buses of a test meet, in memory.
type broker struct {
	mu     sync.Mutex
	away   bool
	buses  []*memBus
	owners map[string][]*memClaim
}

// setAway makes the broker unreachable, or reachable again.
func (b *broker) setAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// owner returns the index of the bus that owns a key; -1 if none does.
func (b *broker) owner(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.owners[key]) == 0 {
		return -1
	}
	return slices.Index(b.buses, b.owners[key][0].bus)
}

// others returns the hubs of the other buses for which is returns true, or why there are none.
func (b *memBus) others(is func(*memBus) bool) (locals []hub.Local, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, hub.ErrClosed
	case b.away:
		return nil, fmt.Errorf("no route: %w", hub.ErrAway)
	}
	for _, other := range b.buses {
		if other != b && other.local != nil && is(other) {
			locals = append(locals, other.local)
		}
	}
	return locals, nil
}

// memBus is a bus in memory. It checks what the hub promises to a bus.
type memBus struct {
	*broker
	t     *testing.T
	hub   *hub.Hub
	local hub.Local

	// broker.mu guards the rest.
	rooms    map[string]bool
	closed   bool
	calls    map[string]int   // of each method
	gates    map[string]*gate // for the next call of a method
	underway map[string]bool  // "key k" or "room r": a call about it
	startErr error
	sendErr  error
	closeErr error
}

func (b *broker) newBus(t *testing.T, h *hub.Hub) *memBus {
	bus := &memBus{broker: b, t: t, hub: h, rooms: map[string]bool{},
		calls: map[string]int{}, gates: map[string]*gate{}, underway: map[string]bool{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buses = append(b.buses, bus)
	h.Bus = bus
	return bus
}

// gate stops a call of the hub until the test opens it.
type gate struct {
	reached, opened chan struct{}
	open            func()
}

// gate makes the next call of a method stop. The methods are those of hub.Bus and hub.Claim,
// "stop" of Listen, and "claimed" for the end of Claim.
func (b *memBus) gate(method string) *gate {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := &gate{reached: make(chan struct{}), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	b.gates[method] = g
	return g
}

// count returns how often a method was called.
func (b *memBus) count(method string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[method]
}

// begin counts a call, and stops at its gate. A hub that held its lock would hang here.
func (b *memBus) begin(method string) {
	b.hub.Leave(nil)
	b.mu.Lock()
	b.calls[method]++
	g := b.gates[method]
	delete(b.gates, method)
	b.mu.Unlock()
	if g == nil {
		return
	}
	close(g.reached)
	select {
	case <-g.opened:
	case <-b.t.Context().Done(): // the test has failed
	}
}

// about checks that calls about one key or room do not overlap.
func (b *memBus) about(what string) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underway[what] {
		b.t.Errorf("two calls about %s at the same time", what)
	}
	b.underway[what] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.underway, what)
	}
}

func (b *memBus) Start(l hub.Local) error {
	b.begin("Start")
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.local != nil || b.closed {
		b.t.Error("Start is called again, or after Close")
	}
	b.local = l
	return b.startErr
}

// memClaim is a claim in memory.
type memClaim struct {
	bus  *memBus
	key  string
	lost func()
	mu   sync.Mutex // held while lost runs
	gone bool
}

func (b *memBus) Claim(ctx context.Context, key string, second hub.Second, lost func()) (hub.Claim, error) {
	defer b.about("key " + key)()
	b.begin("Claim")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c := &memClaim{bus: b, key: key, lost: lost}
	older, err := b.take(c, second)
	if err != nil {
		return nil, err
	}
	for _, o := range older {
		o.lose()
	}
	b.begin("claimed")
	return c, nil
}

// take makes c an owner of its key, and returns those that it has taken the key from.
func (b *memBus) take(c *memClaim, second hub.Second) (older []*memClaim, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	owners := b.owners[c.key]
	switch {
	case b.closed:
		return nil, hub.ErrClosed
	case b.away && second != hub.AllowBoth:
		return nil, fmt.Errorf("no route: %w", hub.ErrAway)
	case second == hub.RefuseSecond && len(owners) > 0:
		return nil, hub.ErrTaken
	case slices.ContainsFunc(owners, func(o *memClaim) bool { return o.bus == b }):
		b.t.Errorf("the key %s is claimed twice", c.key)
	case second == hub.KickFirst:
		older, owners = owners, nil
	}
	b.owners[c.key] = append(owners, c)
	return older, nil
}

// lose tells the hub that the claim is lost.
func (c *memClaim) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	c.bus.begin("lost")
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.lost()
	}()
	<-done
}

func (c *memClaim) Release() {
	defer c.bus.about("key " + c.key)()
	c.bus.begin("Release")
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owners[c.key] = slices.DeleteFunc(b.owners[c.key], func(o *memClaim) bool { return o == c })
	if len(b.owners[c.key]) == 0 {
		delete(b.owners, c.key)
	}
}

func (b *memBus) Listen(room string) (stop func()) {
	defer b.about("room " + room)()
	b.begin("Listen")
	b.setListening(room, true)
	return func() {
		defer b.about("room " + room)()
		b.begin("stop")
		b.setListening(room, false)
	}
}

func (b *memBus) setListening(room string, listening bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rooms[room] == listening {
		b.t.Errorf("Listen or stop of room %s is called again", room)
	}
	if b.rooms[room] = listening; !listening {
		delete(b.rooms, room)
	}
}

// listensTo returns the rooms whose messages come.
func (b *memBus) listensTo() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.rooms))
}

func (b *memBus) Publish(room string, payload []byte) error {
	b.begin("Publish")
	others, err := b.others(func(other *memBus) bool { return other.rooms[room] })
	for _, l := range others {
		l.Deliver(room, payload)
	}
	return err
}

// ask calls f with each other process that owns the key, and returns the last error.
func (b *memBus) ask(method, key string, f func(hub.Local) error) error {
	b.begin(method)
	others, err := b.others(func(other *memBus) bool {
		return slices.ContainsFunc(b.owners[key], func(o *memClaim) bool { return o.bus == other })
	})
	if err == nil && len(others) == 0 {
		return hub.ErrUnknown
	}
	for _, l := range others {
		err = f(l)
	}
	return err
}

func (b *memBus) Send(ctx context.Context, key string, payload []byte) error {
	if b.sendErr != nil {
		return b.sendErr
	}
	return b.ask("Send", key, func(l hub.Local) error { return l.SendLocal(key, payload) })
}

func (b *memBus) Kick(ctx context.Context, key, why string) error {
	return b.ask("Kick", key, func(l hub.Local) error { return l.KickLocal(key, why) })
}

func (b *memBus) Request(ctx context.Context, key string, payload []byte) (answer []byte, err error) {
	err = b.ask("Request", key, func(l hub.Local) (err error) {
		answer, err = l.RequestLocal(ctx, key, payload)
		return err
	})
	return answer, err
}

func (b *memBus) Has(ctx context.Context, key string) (bool, error) {
	switch err := b.ask("Has", key, func(hub.Local) error { return nil }); err {
	case nil:
		return true, nil
	case hub.ErrUnknown:
		return false, nil
	default:
		return false, err
	}
}

func (b *memBus) Presence(ctx context.Context, room string) (keys []string, err error) {
	b.begin("Presence")
	others, err := b.others(func(*memBus) bool { return true })
	for _, l := range others {
		keys = append(keys, l.Present(room)...)
	}
	return keys, err
}

func (b *memBus) Stats() hub.BusStats { return hub.BusStats{} }

func (b *memBus) Close() error {
	b.begin("Close")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for key, owners := range b.owners {
		b.owners[key] = slices.DeleteFunc(owners, func(o *memClaim) bool { return o.bus == b })
	}
	return b.closeErr
}
