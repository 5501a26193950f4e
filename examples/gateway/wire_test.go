package main

import (
	"encoding/hex"
	"net"
	"strings"
	"testing"
	"time"

	"wireline/examples/gateway/protocol"
	"wireline/tcptest"
)

// The conversation of TestWire, made by another program.
const (
	deviceBytes = "a55a 0009 01 00000001 70756d70 c21f" + // pump logs in
		"a55a 0013 02 00000002 0474656d70 03 404ec00000000000 57b2" + // temp is 61.5
		"a55a 000a 02 00000003 026f6e 01 01 fc6b" + // on is true
		"a55a 0014 02 00000004 05636f756e74 02 fffffffffffffffe 10d6" + // count is -2
		"a55a 0010 02 00000005 04646f6f72 04 c3b670656e deb2" + // door is öpen
		"a55a 0005 03 00000006 3cdb" // heartbeat
	gatewayBytes = "a55a 0009 81 00000001 0000ea60 9c1e" + // welcome: a minute
		"a55a 0005 05 00000002 b1da a55a 0005 05 00000003 a1fb a55a 0005 05 00000004 d11c" +
		"a55a 0005 05 00000005 c13d a55a 0005 05 00000006 f15e"
)

// unhex returns the bytes that hexadecimal digits stand for.
func unhex(t testing.TB, digits string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A conversation, byte for byte, whole and in pieces. The readings go to the log and to the collector.
func TestWire(t *testing.T) {
	collector, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	collector.SetDeadline(time.Now().Add(patience))
	g := start(t, "--devices.silence=1m", "--devices.collector="+collector.LocalAddr().String())
	sent, received := unhex(t, deviceBytes), unhex(t, gatewayBytes)
	for _, size := range []int{len(sent), 1, 2, 7} {
		w := g.dial()
		for rest := sent; rest != ""; {
			n := min(size, len(rest))
			tcptest.Send(t, w.Conn.Conn, rest[:n])
			rest = rest[n:]
		}
		tcptest.Receive(t, w.Conn.Conn, received)
		tcptest.CloseWrite(t, w.Conn.Conn)
		tcptest.ReceiveAll(t, w.Conn.Conn, "")
		for _, want := range []string{"pump temp 61.5\n", "pump on true\n", "pump count -2\n", "pump door \"öpen\"\n"} {
			packet := make([]byte, 100)
			if n, _, err := collector.ReadFrom(packet); err != nil || string(packet[:n]) != want {
				t.Errorf("pieces of %d: the collector has got %q, %v; want %q", size, packet[:n], err, want)
			}
		}
	}
	g.log.await(t, "msg=reading device=pump name=door value=öpen")
}

// What is wrong with a frame or a message ends the connection, after a failure that says so. The gateway
// never searches for the next marker: see Checked of package frame. Other devices go on.
func TestFaults(t *testing.T) {
	g := start(t, "--devices.known=pump,boiler", "--devices.max_payload=256")
	boiler := g.login("boiler")
	login := unhex(t, "a55a 0009 01 00000001 70756d70 c21f")
	codec := protocol.Codec(protocol.MaxPayload)
	encode := func(kind protocol.Type, payload string) string {
		f, err := codec.Append(nil, protocol.Message{Type: kind, Sequence: 7, Payload: []byte(payload)}.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return string(f)
	}
	for name, test := range map[string]struct {
		sent   string // instead of a login, or after it
		logsIn bool
		code   protocol.Code
	}{
		"wrong CRC":                   {sent: login[:len(login)-1] + "\x20", code: protocol.BadMessage},
		"wrong CRC, valid frame next": {sent: login[:len(login)-1] + "\x20" + login, code: protocol.BadMessage},
		"a byte before the marker":    {sent: "\x00" + login, code: protocol.BadMessage},
		"a line before the marker":    {sent: "AT+OK\r\n" + login, code: protocol.BadMessage},
		"half a marker":               {sent: "\xa5" + login, code: protocol.BadMessage},
		"a browser":                   {sent: "GET / HTTP/1.1\r\n\r\n", code: protocol.BadMessage},
		"junk after a login":          {sent: "junk", logsIn: true, code: protocol.BadMessage},
		"too long":                    {sent: encode(protocol.Login, strings.Repeat("x", 257)), code: protocol.BadMessage},
		"no room for a sequence":      {sent: unhex(t, "a55a 0001 03 7f9c"), code: protocol.BadMessage},
		"a reading before the login":  {sent: encode(protocol.Reading, "\x01a\x01\x01"), code: protocol.BadMessage},
		"an id that is not valid":     {sent: encode(protocol.Login, "pump\n"), code: protocol.BadMessage},
		"no id":                       {sent: encode(protocol.Login, ""), code: protocol.BadMessage},
		"an unknown id":               {sent: encode(protocol.Login, "heater"), code: protocol.UnknownDevice},
		"a second login":              {sent: login, logsIn: true, code: protocol.BadMessage},
		"a command of a device":       {sent: encode(protocol.Command, "get"), logsIn: true, code: protocol.BadMessage},
		"an unknown type":             {sent: encode(0x7f, ""), logsIn: true, code: protocol.BadMessage},
		"a reading without a value":   {sent: encode(protocol.Reading, "\x01a"), logsIn: true, code: protocol.BadMessage},
		"a reading that is not finite": {sent: encode(protocol.Reading, "\x01a\x03\x7f\xf0\x00\x00\x00\x00\x00\x00"),
			logsIn: true, code: protocol.BadMessage},
	} {
		t.Run(name, func(t *testing.T) {
			w := g.dial()
			w.t = t
			if test.logsIn {
				tcptest.Send(t, w.Conn.Conn, login)
				w.expect(protocol.Welcome)
			}
			tcptest.Send(t, w.Conn.Conn, test.sent)
			w.ends(test.code)
		})
	}
	t.Run("half a frame, and the end", func(t *testing.T) {
		w := g.dial()
		tcptest.Send(t, w.Conn.Conn, login+login[:len(login)-1])
		tcptest.CloseWrite(t, w.Conn.Conn)
		w.expect(protocol.Welcome)
		w.ends(protocol.BadMessage)
	})
	boiler.send(protocol.Message{Type: protocol.Heartbeat, Sequence: 9})
	if m := boiler.expect(protocol.Ack); m.Sequence != 9 {
		t.Errorf("the ack has sequence %d", m.Sequence)
	}
}

// A second login with the id of a device that is there.
func TestSecondLogin(t *testing.T) {
	t.Run("kick", func(t *testing.T) {
		g := start(t)
		older := g.login("pump")
		newer := g.login("pump")
		older.ends(protocol.Replaced)
		answer := g.command("pump/command", "status")
		newer.answer(newer.expect(protocol.Command), "fine")
		if got := await(t, "the answer", answer); got != (response{200, "fine"}) {
			t.Errorf("the newer one: %v", got)
		}
	})
	t.Run("refuse", func(t *testing.T) {
		g := start(t, "--devices.second=refuse")
		older := g.login("pump")
		newer := g.dial()
		newer.send(protocol.Message{Type: protocol.Login, Payload: []byte("pump")})
		newer.ends(protocol.Taken)
		answer := g.command("pump/command", "status")
		older.answer(older.expect(protocol.Command), "fine")
		if got := await(t, "the answer", answer); got != (response{200, "fine"}) {
			t.Errorf("the older one: %v", got)
		}
		older.Close()
		for { // until its end is noticed
			w := g.dial()
			w.send(protocol.Message{Type: protocol.Login, Payload: []byte("pump")})
			if m, err := w.ReadMessage(); err != nil || m.Type == protocol.Welcome {
				break
			}
		}
		if status, _ := g.do("DELETE", "/devices/pump", ""); status != 204 {
			t.Errorf("the id is not free again: %d", status)
		}
	})
}
