package natsbus

import (
	"context"
	"errors"
	"runtime/debug"

	"wireline/hub"
)

// errPanicked is what the other process is told.
var errPanicked = errors.New("natsbus: the process of the client has panicked")

// guarded is a hub whose panics, as of Hub.ID or a codec with a message of another process, are
// logged and do not end this process.
type guarded struct {
	hub.Local
	bus *Bus
}

// recover is deferred. err, if it is not nil, gets the error of a panic.
func (g guarded) recover(err *error) {
	v := recover()
	if v == nil {
		return
	}
	g.bus.log().Error("a message of another process caused a panic", "panic", v, "stack", string(debug.Stack()))
	if err != nil {
		*err = errPanicked
	}
}

func (g guarded) Deliver(room string, payload []byte) {
	defer g.recover(nil)
	g.Local.Deliver(room, payload)
}

func (g guarded) SendLocal(key string, payload []byte) (err error) {
	defer g.recover(&err)
	return g.Local.SendLocal(key, payload)
}

func (g guarded) RequestLocal(ctx context.Context, key string, payload []byte) (answer []byte, err error) {
	defer g.recover(&err)
	return g.Local.RequestLocal(ctx, key, payload)
}
