package main

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"wireline/examples/gateway/protocol"
	"wireline/hub/natsbus"
)

// startTwo runs two programs that are one gateway, and know of each other. The first one has the NATS
// server.
func startTwo(t *testing.T, flags ...string) (first, second *running) {
	t.Helper()
	first = start(t, append(flags, "--nats.embedded=127.0.0.1:0")...)
	second = start(t, append(flags, "--nats.url="+first.log.await(t, "msg=nats url="))...)
	for _, g := range []*running{first, second} {
		for known := false; !known; { // of the other one
			_, metrics := g.do("GET", "/metrics", "")
			known = strings.Contains(metrics, "wireline_hub_bus_nodes{hub=\"default\"} 2\n")
		}
	}
	return first, second
}

// What comes over HTTP at one process reaches a device at the other.
func TestTwoProcesses(t *testing.T) {
	a, b := startTwo(t)
	pump, valve := b.login("pump"), a.login("valve")

	answer := a.command("pump/command?timeout=20s", "one")
	second := a.command("pump/command?timeout=20s", "two")
	for range 2 {
		m := pump.expect(protocol.Command)
		pump.answer(m, "done "+string(m.Payload))
	}
	if got := await(t, "the answer", answer); got != (response{200, "done one"}) {
		t.Error(got)
	}
	if got := await(t, "the second answer", second); got != (response{200, "done two"}) {
		t.Error(got)
	}
	if status, body := a.do("POST", "/devices/heater/command", "x"); status != 404 {
		t.Errorf("an unknown device: %d %s", status, body)
	}
	if status, body := a.do("POST", "/devices/pump/command?timeout=10ms", "x"); status != 504 {
		t.Errorf("no answer: %d %s", status, body)
	}
	pump.expect(protocol.Command)

	_, body := a.do("GET", "/devices", "")
	var list devices
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Devices) != 1 || list.Devices[0].ID != "valve" ||
		!slices.Equal(list.Elsewhere, []string{"pump"}) || list.Error != "" {
		t.Errorf("GET /devices: %s, %v", body, err)
	}

	gone := a.command("pump/command?timeout=20s", "x")
	pump.expect(protocol.Command)
	if status, body := a.do("DELETE", "/devices/pump", ""); status != 204 {
		t.Errorf("kick: %d %s", status, body)
	}
	pump.ends(protocol.Kicked)
	if got := await(t, "the error", gone); got.status != 503 {
		t.Errorf("a command to a device that is kicked: %v", got)
	}
	if status, body := a.do("DELETE", "/devices/pump", ""); status != 404 {
		t.Errorf("kick again: %d %s", status, body)
	}

	b.stop()
	answer = a.command("valve/command", "x") // goes on
	valve.answer(valve.expect(protocol.Command), "fine")
	if got := await(t, "the answer", answer); got != (response{200, "fine"}) {
		t.Error(got)
	}
}

// A process that stops answers the commands that wait for devices of other processes.
func TestStopWithCommandElsewhere(t *testing.T) {
	a, b := startTwo(t)
	pump := a.login("pump")
	waits := b.command("pump/command?timeout=1m", "x")
	pump.expect(protocol.Command)
	b.stop()
	if got := await(t, "the error", waits); got.status != 503 || !strings.Contains(got.body, errDraining.Error()) {
		t.Error(got)
	}
}

// A second login with an id at another process.
func TestSecondLoginElsewhere(t *testing.T) {
	t.Run("kick", func(t *testing.T) {
		a, b := startTwo(t)
		older := a.login("pump")
		newer := b.login("pump")
		older.ends(protocol.Replaced)
		answer := a.command("pump/command?timeout=20s", "x")
		newer.answer(newer.expect(protocol.Command), "fine")
		if got := await(t, "the answer", answer); got != (response{200, "fine"}) {
			t.Error(got)
		}
	})
	t.Run("refuse", func(t *testing.T) {
		a, b := startTwo(t, "--devices.second=refuse")
		older := a.login("pump")
		newer := b.dial()
		newer.send(protocol.Message{Type: protocol.Login, Payload: []byte("pump")})
		newer.ends(protocol.Taken)
		answer := b.command("pump/command?timeout=20s", "x")
		older.answer(older.expect(protocol.Command), "fine")
		if got := await(t, "the answer", answer); got != (response{200, "fine"}) {
			t.Error(got)
		}
	})
}

// natsServer starts a NATS server, which is stopped at the end of the test.
func natsServer(t *testing.T, listen, store string) *natsbus.Embedded {
	t.Helper()
	server := &natsbus.Embedded{Listen: listen, StoreDir: store, Log: slog.New(slog.DiscardHandler)}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// tryLogin logs in, and returns nil if the gateway cannot tell whether the id is taken.
func (g *running) tryLogin(id string) *wire {
	g.t.Helper()
	w := g.dial()
	w.send(protocol.Message{Type: protocol.Login, Payload: []byte(id)})
	m, err := w.ReadMessage()
	if err != nil {
		g.t.Fatal(err)
	}
	if m.Type == protocol.Welcome {
		return w
	}
	if why, err := protocol.ParseError(m.Payload); err != nil || m.Type != protocol.Failure || why.Code != protocol.Unavailable {
		g.t.Fatalf("a login is answered by type %#02x, %v, %v", byte(m.Type), why, err)
	}
	w.Close()
	return nil
}

// While the NATS server is away, the devices of the process itself go on, and no device can log in. When
// the server is back, everything goes on.
func TestNATSAway(t *testing.T) {
	server := natsServer(t, "127.0.0.1:0", "")
	url := server.URL()
	a, b := start(t, "--nats.url="+url), start(t, "--nats.url="+url)
	pump := b.login("pump")
	server.Close()
	for status := 0; status != 503; { // until the bus has noticed
		status, _ = b.do("POST", "/devices/elsewhere/command?timeout=1s", "x")
	}
	if w := b.tryLogin("valve"); w != nil {
		t.Error("a login has succeeded")
	}
	answer := b.command("pump/command?timeout=20s", "x")
	pump.answer(pump.expect(protocol.Command), "fine")
	if got := await(t, "the answer", answer); got != (response{200, "fine"}) {
		t.Error(got)
	}
	natsServer(t, strings.TrimPrefix(url, "nats://"), "")
	var valve *wire
	for valve == nil {
		valve = a.tryLogin("valve")
	}
	go func() { // pump answers everything, until the end of the test
		for m, err := pump.ReadMessage(); err == nil; m, err = pump.ReadMessage() {
			pump.WriteMessage(protocol.Message{Type: protocol.Answer, Sequence: m.Sequence, Payload: []byte{0}})
		}
	}()
	for status := 0; status != 200; { // until b is back too
		status, _ = a.do("POST", "/devices/pump/command?timeout=20s", "x")
	}
}

// With JetStream, the older of two logins at different processes gets nothing any more.
func TestJetStream(t *testing.T) {
	url := natsServer(t, "127.0.0.1:0", t.TempDir()).URL()
	a, b := start(t, "--nats.url="+url, "--nats.jetstream=true"), start(t, "--nats.url="+url, "--nats.jetstream=true")
	for range 3 {
		older := a.login("pump")
		newer := b.login("pump")
		answer := a.command("pump/command?timeout=20s", "x")
		newer.answer(newer.expect(protocol.Command), "fine")
		if got := await(t, "the answer", answer); got != (response{200, "fine"}) {
			t.Error(got)
		}
		older.ends(protocol.Replaced)
	}
}

// Processes with another prefix at the same NATS server are another gateway.
func TestNATSPrefix(t *testing.T) {
	url := natsServer(t, "127.0.0.1:0", t.TempDir()).URL()
	for _, more := range [][]string{nil, {"--nats.jetstream=true"}} {
		a := start(t, append(more, "--nats.url="+url)...)
		b := start(t, append(more, "--nats.url="+url, "--nats.prefix=test.gateway")...)
		older := a.login("pump")
		b.login("pump")
		older.send(protocol.Message{Type: protocol.Heartbeat})
		older.expect(protocol.Ack) // it is not replaced
		a.stop()
		b.stop()
	}
}

func TestNATSConfiguration(t *testing.T) {
	for args, want := range map[string]string{
		"--nats.url=nats://u:pw@h:4222 --nats.embedded=:1": "nats.embedded: flag --nats.embedded: ",
		"--nats.jetstream=true":                            "nats.jetstream: flag --nats.jetstream: ",
		"--nats.url=nats://u:pw@[::1":                      "nats.url: flag --nats.url: ",
		"--nats.url=nats://u:pw@h,":                        "nats.url: flag --nats.url: ",
		"--nats.prefix=a..b":                               "nats.prefix: flag --nats.prefix: ",
		"--nats.embedded=nonsense":                         "must be host:port",
	} {
		code, printed := runs("--tcp.address=127.0.0.1:0 --admin.address=127.0.0.1:0 " + args)
		if code != exitUsage || !strings.Contains(printed, want) || strings.Contains(printed, "pw@") {
			t.Errorf("%s: exit code %d; printed\n%s\nwant %s", args, code, printed, want)
		}
	}
}
