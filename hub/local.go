package hub

import (
	"context"
	"errors"
)

// Start starts the Bus, if there is one, and returns its error. The other methods start it if it
// was not started, and return the error; a program that wants to know it early calls Start first.
// Later calls return what the first has returned.
func (h *Hub) Start() error {
	h.starting.Do(func() {
		if h.Bus != nil {
			h.startErr = h.Bus.Start(local{h})
		}
	})
	return h.startErr
}

// reach checks the name of a key or a room, and starts the bus, before the bus is called with it.
func (h *Hub) reach(name string) error {
	if err := h.checkName(name); err != nil {
		return err
	}
	return h.Start()
}

// local is a hub as its bus sees it.
type local struct{ hub *Hub }

func (l local) Deliver(room string, payload []byte) {
	l.hub.publishHere(context.Background(), room, payload)
}

func (l local) SendLocal(key string, payload []byte) error { return l.hub.sendHere(key, payload) }

func (l local) RequestLocal(ctx context.Context, key string, payload []byte) ([]byte, error) {
	return l.hub.requestHere(ctx, key, payload)
}

func (l local) KickLocal(key, why string) error {
	if why == "" {
		return l.hub.kickHere(key, nil)
	}
	return l.hub.kickHere(key, errors.New(why))
}

func (l local) Present(room string) []string { return l.hub.presentHere(room) }
