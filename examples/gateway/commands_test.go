package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"wireline/examples/gateway/protocol"
	"wireline/hub"
	"wireline/lib/logger"
	"wireline/tcptest"
)

// otherProcess is a bus by which a test sends commands as another process.
type otherProcess struct {
	hub.Bus
	local hub.Local
}

func (o *otherProcess) Start(l hub.Local) error { o.local = l; return nil }
func (o *otherProcess) Claim(context.Context, string, hub.Second, func()) (hub.Claim, error) {
	return o, nil
}
func (o *otherProcess) Release()                    {}
func (o *otherProcess) Listen(string) (stop func()) { return func() {} }
func (o *otherProcess) Close() error                { return nil }

// Commands of two processes have the same sequence: each gets its own answer.
func TestSameSequences(t *testing.T) {
	first, err := load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := new(otherProcess)
	g := newGateway(hub.KickFirst, other, slog.New(slog.DiscardHandler))
	if err := g.hub.Start(); err != nil {
		t.Fatal(err)
	}
	server := tcptest.NewServer(&newService(g, first.cfg.Devices, logger.Config{}, nil).frames)
	defer g.hub.Close()
	defer server.Close()
	pump := (&running{t: t, devices: server.Addr}).login("pump")

	var calls sync.WaitGroup
	for _, text := range []string{"one", "two"} {
		request := protocol.Message{Type: protocol.Command, Sequence: 7, Payload: []byte(text)}
		calls.Go(func() {
			frame, err := other.local.RequestLocal(t.Context(), "pump", request.Bytes())
			if answer, _ := protocol.Parse(frame); err != nil || string(answer.Payload) != "\x00answer to "+text {
				t.Errorf("%s: %q, %v", text, answer.Payload, err)
			}
		})
	}
	for range 2 {
		m := pump.expect(protocol.Command)
		pump.answer(m, "answer to "+string(m.Payload))
	}
	calls.Wait()
}

// However many commands wait, monitoring goes on.
func TestTooManyCommands(t *testing.T) {
	bubble(t, func(t *testing.T, g *inMemory) {
		w := g.connect("pump")
		var waiting []<-chan response
		var commands []protocol.Message
		for range maxCommands {
			waiting = append(waiting, g.command("pump/command?timeout=1m", "x"))
			commands = append(commands, w.expect(protocol.Command))
		}
		if status, body := g.do("POST", "/devices/pump/command", "x"); status != http.StatusTooManyRequests {
			t.Errorf("one more command: %d %s", status, body)
		}
		if status, metrics := g.do("GET", "/metrics", ""); status != 200 || !strings.Contains(metrics, "wireline_hub_clients") {
			t.Errorf("the metrics: %d %s", status, metrics)
		}
		for i, m := range commands {
			w.answer(m, fmt.Sprint(i))
		}
		for i, c := range waiting {
			if got := <-c; got != (response{200, fmt.Sprint(i)}) {
				t.Errorf("command %d: %v", i, got)
			}
		}
	}, "--devices.limit.frames=0")
}
