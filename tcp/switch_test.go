package tcp_test

import (
	"testing"

	"wireline/tcp"
)

func TestSwitch(t *testing.T) {
	for text, want := range map[string]tcp.Switch{"true": tcp.SwitchOn, "1": tcp.SwitchOn, "false": tcp.SwitchOff, "F": tcp.SwitchOff} {
		var got tcp.Switch
		if err := got.UnmarshalText([]byte(text)); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if b, err := got.MarshalText(); string(b) != got.String() || err != nil || got.On() != (string(b) == "true") {
			t.Errorf("%v is written as %q, %v", got, b, err)
		}
	}
	off := tcp.SwitchOff
	if err := off.UnmarshalText([]byte("on")); err == nil || off != tcp.SwitchOff {
		t.Errorf("on: %v, %v", off, err)
	}
	if s := new(tcp.Switch); !s.On() {
		t.Error("the zero value is off")
	}
}
