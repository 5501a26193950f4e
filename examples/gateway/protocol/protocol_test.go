package protocol_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"wireline/examples/gateway/protocol"
	"wireline/lib/frame"
	"wireline/tcptest"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "boiler-7.north_wing": true, strings.Repeat("x", protocol.MaxName): true,
		"": false, strings.Repeat("x", protocol.MaxName+1): false, "a b": false, "a/b": false, ".": false, "..": false, "-a": false, "a..": true, "ö": false, "a\n": false, "\x80": false,
	} {
		if got := protocol.IsName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// What is appended is parsed again.
func TestPayloads(t *testing.T) {
	for _, value := range []any{true, false, int64(0), int64(math.MinInt64), int64(math.MaxInt64), 0.0, -61.5, math.MaxFloat64, "", "öpen\n"} {
		want := protocol.Measurement{Name: "n", Value: value}
		if got, err := protocol.ParseMeasurement(want.Append(nil)); got != want || err != nil {
			t.Errorf("%v: %v, %v", want, got, err)
		}
	}
	for _, want := range []protocol.Result{{Refused: true, Output: []byte("no")}, {Output: []byte{}}} {
		if got, err := protocol.ParseResult(want.Append(nil)); got.Refused != want.Refused || !bytes.Equal(got.Output, want.Output) || err != nil {
			t.Errorf("%v: %v, %v", want, got, err)
		}
	}
	want := &protocol.Error{Code: protocol.Taken, Text: "taken"}
	if got, err := protocol.ParseError(want.Append(nil)); *got != *want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := protocol.ParseSilence(protocol.AppendSilence(nil, 24*time.Hour)); got != 24*time.Hour || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// What is no payload is an *Error with BadMessage.
func TestBadPayloads(t *testing.T) {
	check := func(what string, err error) {
		t.Helper()
		if bad := (*protocol.Error)(nil); !errors.As(err, &bad) || bad.Code != protocol.BadMessage {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, p := range []string{"", "\x00\x01\x01", "\x01", "\x02a\x01\x01", "\x01/\x01\x01", "\x01a", "\x01a\x00", "\x01a\x05x",
		"\x01a\x01", "\x01a\x01\x02", "\x01a\x01\x01\x01", "\x01a\x02\x01", "\x01a\x03\x7f\xf8\x00\x00\x00\x00\x00\x00", "\x01a\x04\xff"} {
		_, err := protocol.ParseMeasurement([]byte(p))
		check("a measurement", err)
	}
	for _, p := range []string{"", "\x02"} {
		_, err := protocol.ParseResult([]byte(p))
		check("a result", err)
	}
	_, err := protocol.ParseSilence([]byte("123"))
	check("a silence", err)
	_, err = protocol.Parse([]byte("1234"))
	check("a message", err)
	if _, err := protocol.ParseError(nil); err == nil {
		t.Error("a failure without a code is parsed")
	}
}

// A Conn reads what another one has written, in whatever pieces it comes.
func TestConn(t *testing.T) {
	client, server := tcptest.PipeSize(1)
	defer client.Close()
	w, r := protocol.NewConn(server), protocol.NewConn(client)
	long := make([]byte, protocol.MaxPayload)
	go func() {
		w.WriteMessage(protocol.Message{Type: protocol.Command, Sequence: 1, Payload: long})
		w.WriteMessage(protocol.Message{Type: protocol.Ack, Sequence: math.MaxUint32})
		server.Write([]byte{0xa5})
		server.Close()
	}()
	if m, err := r.ReadMessage(); err != nil || m.Type != protocol.Command || !bytes.Equal(m.Payload, long) {
		t.Errorf("%v, %v", m.Type, err)
	}
	if m, err := r.ReadMessage(); err != nil || m.Type != protocol.Ack || m.Sequence != math.MaxUint32 || len(m.Payload) > 0 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := r.ReadMessage(); err != io.ErrUnexpectedEOF {
		t.Errorf("the end within a frame is %v", err)
	}
	if err := r.WriteMessage(protocol.Message{Payload: append(long, 0)}); !errors.Is(err, frame.ErrTooLong) {
		t.Errorf("a payload that is too long: %v", err)
	}
	if _, err := r.ReadMessage(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// Whatever bytes come, nothing panics, and what is parsed is the same when it is appended again.
func FuzzMessage(f *testing.F) {
	codec := protocol.Codec(protocol.MaxPayload)
	for _, m := range []protocol.Message{
		{Type: protocol.Login, Sequence: 1, Payload: []byte("boiler")},
		{Type: protocol.Reading, Sequence: 2, Payload: protocol.Measurement{Name: "t", Value: 61.5}.Append(nil)},
		{Type: protocol.Answer, Sequence: 3, Payload: protocol.Result{Output: []byte("x")}.Append(nil)},
		{Type: protocol.Welcome, Payload: protocol.AppendSilence(nil, time.Minute)},
		{Type: protocol.Failure, Payload: (&protocol.Error{Code: protocol.Late, Text: "late"}).Append(nil)},
	} {
		b, err := codec.Append(nil, m.Bytes())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(m.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if part, n, err := codec.Split(b, 0, true); err == nil && n > 0 {
			if again, err := codec.Append(nil, part); err != nil || !bytes.Equal(again, b[:n]) {
				t.Errorf("%x is %x again, %v", b[:n], again, err)
			}
		}
		m, err := protocol.Parse(b) // most inputs are no frames: their payloads are tried too
		if err != nil {
			return
		}
		if again := m.Bytes(); !bytes.Equal(again, b) {
			t.Errorf("%x is %x again", b, again)
		}
		for what, again := range payloads(m.Payload) {
			if !bytes.Equal(again, m.Payload) {
				t.Errorf("%x as a %s is %x again", m.Payload, what, again)
			}
		}
	})
}

// payloads returns p as each payload that it can be, appended again.
func payloads(p []byte) map[string][]byte {
	all := make(map[string][]byte)
	if m, err := protocol.ParseMeasurement(p); err == nil {
		all["measurement"] = m.Append(nil)
	}
	if r, err := protocol.ParseResult(p); err == nil {
		all["result"] = r.Append(nil)
	}
	if d, err := protocol.ParseSilence(p); err == nil {
		all["silence"] = protocol.AppendSilence(nil, d)
	}
	if e, err := protocol.ParseError(p); err == nil {
		all["error"] = e.Append(nil)
	}
	return all
}
