package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"wireline/examples/gateway/protocol"
	"wireline/handler"
	"wireline/hub"
)

// gateway knows the devices that have logged in, whatever configuration they came with, and sends
// them commands. Others may have devices too: see NATS.
type gateway struct {
	hub      hub.Hub
	sequence atomic.Uint32 // of the last command
	draining atomic.Bool   // no further command is sent
	log      *slog.Logger
}

// newGateway returns a gateway without devices. bus joins it to others; nil if there are none. The
// caller closes the hub.
func newGateway(second hub.Second, bus hub.Bus, log *slog.Logger) *gateway {
	g := &gateway{log: log}
	if bus != nil {
		g.hub.Bus = numberedBus{bus, g}
	}
	g.hub.Second = second
	g.hub.ID = commandID
	// A device may answer a command of before it has connected again, perhaps to another process: such
	// an answer must not be taken for that to another command.
	g.sequence.Store(rand.Uint32())
	return g
}

// commandID returns what a command and its answer have in common, for the hub.
func commandID(frame []byte) (id string, ok bool) {
	m, err := protocol.Parse(frame)
	if err != nil || m.Type != protocol.Command && m.Type != protocol.Answer {
		return "", false
	}
	return string(frame[1:5]), true // the sequence
}

var (
	errDraining = errors.New("the gateway stops")
	errKicked   = errors.New("ended by an operator")
)

// command sends a command to a device, and waits for its answer until ctx ends. The error is
// errDraining, one of hub.Request, or a *protocol.Error for an answer that is none.
func (g *gateway) command(ctx context.Context, id string, command []byte) (protocol.Result, error) {
	if g.draining.Load() {
		return protocol.Result{}, errDraining
	}
	request := protocol.Message{Type: protocol.Command, Sequence: g.sequence.Add(1), Payload: command}
	frame, err := g.hub.Request(ctx, id, request.Bytes())
	switch {
	case errors.Is(err, hub.ErrClosed):
		return protocol.Result{}, errDraining
	case err != nil:
		return protocol.Result{}, err
	}
	answer, err := protocol.Parse(frame)
	if err != nil {
		return protocol.Result{}, err
	}
	return protocol.ParseResult(answer.Payload)
}

// stop is called when the server is about to stop. Commands that are under way have its grace delay for
// their answers.
func (g *gateway) stop() { g.draining.Store(true) }

// kick ends the connection of a device. The error is one of hub.Kick.
func (g *gateway) kick(ctx context.Context, id string) error {
	return g.hub.Kick(ctx, id, errKicked)
}

// everybody is the room of all devices.
const everybody = "devices"

// devices returns what is known about the devices of this process, and the ids of those of others, in no
// order. If some of these cannot be asked, or do not answer, the rest comes with an error.
func (g *gateway) devices(ctx context.Context) (here []deviceInfo, elsewhere []string, err error) {
	ids, err := g.hub.Presence(ctx, everybody)
	known := make(map[string]bool)
	for id, c := range g.hub.All() {
		here = append(here, infoOf(c))
		known[id] = true
	}
	elsewhere = slices.DeleteFunc(ids, func(id string) bool { return known[id] })
	return here, elsewhere, err
}

// join logs a device in. The error is one for the device.
func (g *gateway) join(c *handler.Client, id string) error {
	switch err := g.hub.Join(c, id); {
	case errors.Is(err, hub.ErrTaken):
		return &protocol.Error{Code: protocol.Taken, Text: "the id is taken"}
	case errors.Is(err, handler.ErrClosed), errors.Is(err, hub.ErrReplaced):
		return err
	case err != nil:
		g.log.Warn("login failed", "device", id, "err", err)
		return &protocol.Error{Code: protocol.Unavailable, Text: "try again"}
	}
	return g.hub.Enter(c, everybody)
}
