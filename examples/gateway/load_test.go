package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"wireline/examples/gateway/protocol"
)

// A device that never reads: commands to it are refused when too much is pending, and it is reset when
// it has taken nothing for the write timeout. Another device does not notice.
func TestNeverReads(t *testing.T) {
	g := start(t, "--devices.max_payload=65530", "--devices.write_timeout=1s", "--tcp.send_buffer=64KiB")
	g.login("pump")
	boiler := g.login("boiler")
	command := strings.Repeat("x", 60_000)
	refused := false
	for {
		status, body := g.do("POST", "/devices/pump/command?timeout=1ms", command)
		refused = refused || status == 503 && strings.Contains(body, "slow reader")
		if status == 404 {
			break // it was reset
		}
		answer := g.command("boiler/command", "x")
		boiler.answer(boiler.expect(protocol.Command), "fine")
		if got := await(t, "the answer of the other device", answer); got != (response{200, "fine"}) {
			t.Fatal(got)
		}
	}
	if !refused {
		t.Error("no command was refused")
	}
	g.log.await(t, "reason=write_timeout")
}

// A stop with commands under way: those that are answered in the grace delay have their answers, others an
// error. A command that comes later is refused.
func TestCommandsWhileStopping(t *testing.T) {
	g := start(t, "--tcp.grace_delay=5s")
	pump, valve := g.login("pump"), g.login("valve")
	answered, unanswered := g.command("pump/command?timeout=1m", "x"), g.command("valve/command?timeout=1m", "x")
	m := pump.expect(protocol.Command)
	valve.expect(protocol.Command)
	g.cancel()
	for { // until the stop has begun
		status, body := g.do("POST", "/devices/pump/command?timeout=1ms", "x")
		if status == 503 && strings.Contains(body, errDraining.Error()) {
			break
		}
		if status != 504 {
			t.Fatalf("%d %s", status, body)
		}
		pump.expect(protocol.Command)
	}
	pump.answer(m, "done")
	if got := await(t, "the answer", answered); got != (response{200, "done"}) {
		t.Error(got)
	}
	if got := await(t, "the error", unanswered); got.status != 503 {
		t.Error(got)
	}
	pump.ends(protocol.Stopping)
	valve.ends(protocol.Stopping)
}

// 1,000 devices log in, send readings, and execute commands; then the gateway stops.
func TestThousandDevices(t *testing.T) {
	const devices, callers = 1000, 20
	g := start(t)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	errs := make(chan error, devices)
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	var journals []*journal
	for i := range devices {
		out := newJournal()
		journals = append(journals, out)
		d := &simulator{id: fmt.Sprint("device-", i), address: g.devices, every: time.Hour, out: out,
			values: map[string]float64{"temperature": float64(i)}}
		all.Go(func() { errs <- d.run(ctx) })
	}
	for _, out := range journals {
		out.await(t, "message 2 is acknowledged") // the first reading
	}
	var calls sync.WaitGroup
	for caller := range callers {
		calls.Go(func() {
			for i := caller; i < devices; i += callers {
				status, answer := g.do("POST", fmt.Sprintf("/devices/device-%d/command?timeout=30s", i), "get temperature")
				if want := fmt.Sprintln(i); status != 200 || answer != want {
					t.Errorf("device-%d: %d %q, want %q", i, status, answer, want)
				}
			}
		})
	}
	calls.Wait()
	if _, list := g.do("GET", "/devices", ""); strings.Count(list, `"name":"temperature"`) != devices {
		t.Errorf("%d devices have sent a reading", strings.Count(list, `"name":"temperature"`))
	}
	g.stop()
	for range devices {
		if err := await(t, "the end of a device", errs); err == nil || !strings.Contains(err.Error(), errDraining.Error()) {
			t.Errorf("a device has ended with %v", err)
		}
	}
}
