package main

import (
	"context"

	"wireline/examples/gateway/protocol"
	"wireline/hub"
)

// numberedBus is a bus that gives the commands of other processes new sequences: the process that has a
// device numbers all commands to it, so that no two of them are alike.
type numberedBus struct {
	hub.Bus
	gateway *gateway
}

// Start implements hub.Bus.
func (b numberedBus) Start(local hub.Local) error {
	return b.Bus.Start(numberedLocal{local, b.gateway})
}

// numberedLocal is the hub as the bus of a numberedBus sees it.
type numberedLocal struct {
	hub.Local
	gateway *gateway
}

// RequestLocal implements hub.Local.
func (l numberedLocal) RequestLocal(ctx context.Context, id string, frame []byte) ([]byte, error) {
	command, err := protocol.Parse(frame)
	if err != nil {
		return nil, err
	}
	command.Sequence = l.gateway.sequence.Add(1)
	return l.Local.RequestLocal(ctx, id, command.Bytes())
}
