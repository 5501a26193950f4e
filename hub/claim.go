package hub

import (
	"context"

	"wireline/handler"
)

// claim is the ownership of a key by this process, from the Join that asks the bus for it until it
// is given up or lost. Clients have the key only while it is settled.
//
//	            the bus refuses
//	asking -----------------------------+
//	  |                                 v
//	  v      the last client leaves     |
//	settled -------------> giving up -->+--> ended
//	  |      another process takes it   |
//	  +------------------> losing ----->+
//
// In the states with a name in -ing, one goroutine calls the bus or is called by it, and Joins with
// the key wait until it is done. So no two calls of the bus about a key overlap, but for lost,
// which may come at any time. Hub.mu guards a claim, and is not held during the calls.
type claim struct {
	hub  *Hub
	key  string
	bus  Claim
	busy chan struct{} // closed at the end of a state in -ing; nil in the others
	lost bool          // while asking
	err  error         // why asking has failed, for the Joins that wait; they read it after busy is closed
}

// joinOwned is Join when there is a bus: c joins as soon as this process owns the key.
func (h *Hub) joinOwned(c *handler.Client, key string) error {
	if err := h.Start(); err != nil {
		return err
	}
	ctx := c.Context()
	for {
		h.mu.Lock()
		if err := h.refusesLocked(ctx); err != nil {
			h.mu.Unlock()
			return err
		}
		cl := h.claims[key]
		switch {
		case cl == nil:
			cl = h.newClaimLocked(key)
			h.mu.Unlock()
			return cl.ask(ctx, c)
		case cl.busy == nil:
			return h.joinAndUnlock(c, key)
		}
		busy := cl.busy
		h.mu.Unlock()
		select {
		case <-busy:
			if cl.err != nil {
				return cl.err
			}
		case <-ctx.Done():
		}
	}
}

// newClaimLocked returns a claim that asks. Close waits for it.
func (h *Hub) newClaimLocked(key string) *claim {
	if h.claims == nil {
		h.claims = make(map[string]*claim)
	}
	cl := &claim{hub: h, key: key, busy: make(chan struct{})}
	h.claims[key] = cl
	h.leaving.Add(1)
	return cl
}

// ask asks the bus for the key, and then lets c join.
func (cl *claim) ask(ctx context.Context, c *handler.Client) error {
	h := cl.hub
	defer h.leaving.Done()
	owned, err := h.Bus.Claim(ctx, cl.key, h.Second, cl.lose)
	h.mu.Lock()
	if err == nil && cl.lost {
		cl.endLocked()
		h.mu.Unlock()
		c.CloseFor(ErrReplaced)
		return ErrReplaced
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // which is of c only
		} else {
			cl.err = err
		}
		cl.endLocked()
		h.mu.Unlock()
		return err
	}
	cl.bus = owned
	cl.settleLocked()
	if _, err = h.joinLocked(c, cl.key); err != nil { // c has ended, or the hub is closed
		h.giveUpLocked(cl.key)
	}
	h.unlock()
	return err
}

// giveUpLocked gives up the claim of a key that no client has any more. unlock goes on with it.
func (h *Hub) giveUpLocked(key string) {
	if cl := h.claims[key]; cl != nil && cl.busy == nil {
		cl.busy = make(chan struct{})
		h.due.claims = append(h.due.claims, cl)
	}
}

// release tells the bus that the claim is given up.
func (cl *claim) release() {
	cl.bus.Release()
	cl.hub.mu.Lock()
	defer cl.hub.mu.Unlock()
	cl.endLocked()
}

// lose is called by the bus when another process has taken the key. It takes all clients with the
// key out of the hub, and closes them.
func (cl *claim) lose() {
	h := cl.hub
	h.mu.Lock()
	if h.claims[cl.key] != cl || cl.busy != nil {
		cl.lost = true // no client has the key, and none gets it from this claim
		h.mu.Unlock()
		return
	}
	cl.busy = make(chan struct{})
	var kicked []*handler.Client
	for m := h.keys[cl.key].newest; m != nil; m = h.keys[cl.key].newest {
		kicked = append(kicked, m.client)
		h.replaced++
		h.removeLocked(m)
	}
	h.unlock()
	for _, c := range kicked {
		c.CloseFor(ErrReplaced)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	cl.endLocked()
}

// settleLocked ends a state in -ing: Joins that wait go on.
func (cl *claim) settleLocked() {
	close(cl.busy)
	cl.busy = nil
}

// endLocked ends the claim. The next Join makes another.
func (cl *claim) endLocked() {
	delete(cl.hub.claims, cl.key)
	cl.settleLocked()
}
