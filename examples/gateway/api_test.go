package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"wireline/examples/gateway/protocol"
	"wireline/handler"
	"wireline/hub"
	"wireline/lib/frame"
)

// Commands that have an answer: several at a time are answered in any order.
func TestCommand(t *testing.T) {
	g := start(t)
	w := g.login("pump")
	first := g.command("pump/command", "one")
	one := w.expect(protocol.Command)
	if string(one.Payload) != "one" {
		t.Errorf("the device has got %q", one.Payload)
	}
	second := g.command("pump/command?timeout=20s", "two")
	two := w.expect(protocol.Command)
	w.answer(two, "2")
	if got := await(t, "the second answer", second); got != (response{200, "2"}) {
		t.Error(got)
	}
	w.answer(two, "twice") // nobody waits for it
	w.answer(protocol.Message{Sequence: two.Sequence + 1000}, "to a command that there was not")
	w.answer(one, "\x00\xff<b>")
	if got := await(t, "the first answer", first); got != (response{200, "\x00\xff<b>"}) {
		t.Error(got)
	}
	refused := g.command("pump/command", "explode")
	m := w.expect(protocol.Command)
	w.send(protocol.Message{Type: protocol.Answer, Sequence: m.Sequence, Payload: []byte("\x01no")})
	if got := await(t, "the refusal", refused); got.status != 409 || !strings.Contains(got.body, "refused the command: no") {
		t.Error(got)
	}
	invalid := g.command("pump/command", "x")
	m = w.expect(protocol.Command)
	w.send(protocol.Message{Type: protocol.Answer, Sequence: m.Sequence})
	if got := await(t, "the answer", invalid); got.status != 502 {
		t.Error(got)
	}
}

// Commands that have none.
func TestCommandErrors(t *testing.T) {
	g := start(t, "--devices.max_payload=256")
	w := g.login("pump")
	for _, test := range []struct {
		path, body string
		status     int
	}{
		{"heater/command", "x", 404},
		{strings.Repeat("x", 300) + "/command", "x", 404},
		{"pump/command?timeout=1ms", "x", 504},
		{"pump/command?timeout=soon", "x", 400},
		{"pump/command?timeout=-1s", "x", 400},
		{"pump/command?timeout=0s", "x", 400},
		{"pump/command?timeout=61s", "x", 400},
		{"pump/command", strings.Repeat("x", 257), 413},
		{"pump/command", strings.Repeat("x", 70_000), 413},
		{"pump/nothing", "x", 404},
	} {
		status, body := g.do("POST", "/devices/"+test.path, test.body)
		if status != test.status || test.path != "pump/nothing" && !json.Valid([]byte(body)) {
			t.Errorf("%.40s: %d %s, want %d", test.path, status, body, test.status)
		}
	}
	if status, _ := g.do("GET", "/devices/pump/command", ""); status != 405 {
		t.Errorf("GET: %d", status)
	}
	late := w.expect(protocol.Command) // of the timeout of a millisecond
	answer := g.command("pump/command", "next")
	next := w.expect(protocol.Command)
	w.answer(late, "late")
	w.answer(next, "in time")
	if got := await(t, "the answer", answer); got != (response{200, "in time"}) {
		t.Error(got)
	}
	gone := g.command("pump/command", "reboot")
	w.expect(protocol.Command)
	w.Close()
	if got := await(t, "the error", gone); got.status != 503 {
		t.Error(got)
	}
}

func TestCommandStatus(t *testing.T) {
	for err, want := range map[error]int{
		hub.ErrUnknown:           404,
		hub.ErrIDInUse:           409,
		refusedError("no"):       409,
		frame.ErrTooLong:         413,
		errDraining:              503,
		handler.ErrClosed:        503,
		handler.ErrSlowReader:    503,
		hub.ErrNotJoined:         503,
		context.DeadlineExceeded: 504,
	} {
		if got := commandStatus(fmt.Errorf("around: %w", err)); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestListAndKick(t *testing.T) {
	g := start(t)
	if status, body := g.do("GET", "/devices", ""); status != 200 || body != "{\"devices\":[]}\n" {
		t.Errorf("no devices: %d %s", status, body)
	}
	pump, boiler := g.login("pump"), g.login("boiler")
	g.dial() // has not logged in
	pump.send(protocol.Message{Type: protocol.Reading, Payload: protocol.Measurement{Name: "count", Value: int64(3)}.Append(nil)})
	pump.expect(protocol.Ack)
	status, body := g.do("GET", "/devices", "")
	var list struct{ Devices []deviceInfo }
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 || len(list.Devices) != 2 {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	if d := list.Devices[0]; d.ID != "boiler" || d.Peer != boiler.LocalAddr().String() || d.Since.IsZero() || d.Last != nil {
		t.Errorf("the first one is %+v", d)
	}
	if d := list.Devices[1]; d.ID != "pump" || d.Last == nil || d.Last.Name != "count" || d.Last.Value != 3.0 || d.Last.At.Before(d.Since) {
		t.Errorf("the second one is %+v", d)
	}
	if status, body := g.do("DELETE", "/devices/pump", ""); status != 204 || body != "" {
		t.Errorf("kick: %d %s", status, body)
	}
	pump.ends(protocol.Kicked)
	if status, _ := g.do("DELETE", "/devices/heater", ""); status != 404 {
		t.Errorf("kick of a device that is not there: %d", status)
	}
	if status, _ := g.do("DELETE", "/api/connections?service=default", ""); status != 200 {
		t.Errorf("kick by the admin side: %d", status)
	}
	boiler.ends(protocol.Kicked)
}

// The checks of the admin side hold for the devices too.
func TestWhoMayCommand(t *testing.T) {
	g := start(t, "--admin.token=s3cret")
	w := g.login("pump")
	for _, header := range [][]string{
		nil,
		{"Authorization", "Bearer wrong"},
		{"Authorization", "Bearer s3cret", "Origin", "https://evil.example"},
		{"Authorization", "Bearer s3cret", "Sec-Fetch-Site", "cross-site"},
	} {
		for _, request := range []string{"POST /devices/pump/command", "DELETE /devices/pump"} {
			method, path, _ := strings.Cut(request, " ")
			if status, _ := g.do(method, path, "x", header...); status != http.StatusUnauthorized && status != http.StatusForbidden {
				t.Errorf("%s with %q: %d", request, header, status)
			}
		}
	}
	w.send(protocol.Message{Type: protocol.Heartbeat})
	w.expect(protocol.Ack) // no command has come before it
	_, metrics := g.do("GET", "/metrics", "", "Authorization", "Bearer s3cret")
	for _, want := range []string{"wireline_connections{service=\"default\"} 1\n", "wireline_hub_clients{hub=\"default\"} 1\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	exit, printed := runs("--admin.address=0.0.0.0:0 --check")
	if exit != exitUsage || !strings.Contains(printed, "admin.address: flag --admin.address: ") || !strings.Contains(printed, "needs admin.token") {
		t.Errorf("an address for everybody without a token: %d %s", exit, printed)
	}
}
