package handler_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wireline/handler"
)

func TestCloseModeText(t *testing.T) {
	for text, want := range map[string]handler.CloseMode{
		"": handler.CloseDefault, "default": handler.CloseDefault, "reset": handler.CloseReset,
		"lingering": handler.CloseLingering, "1s": handler.CloseWithin(time.Second), "1m30s": handler.CloseWithin(90 * time.Second),
	} {
		var got, again handler.CloseMode
		if err := got.UnmarshalText([]byte(text)); got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
		b, err := got.MarshalText()
		if err == nil {
			err = again.UnmarshalText(b)
		}
		if again != got || err != nil || string(b) != got.String() {
			t.Errorf("%q: its text %q is %v, %v", text, b, again, err)
		}
	}
	for _, text := range []string{"0", "0s", "-1s", "1500ms", "5", "never", "20h", "Reset"} {
		mode := handler.CloseReset
		if err := mode.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "must be default, reset, ") {
			t.Errorf("%q: %v, want an error", text, err)
		}
		if mode != handler.CloseReset {
			t.Errorf("%q has made it %v", text, mode)
		}
	}
	for _, mode := range []handler.CloseMode{-3, 1 << 20} {
		if b, err := mode.MarshalText(); err == nil {
			t.Errorf("%v: %q, want an error", mode, b)
		}
	}
	var c struct{ Mode handler.CloseMode }
	if err := json.Unmarshal([]byte(`{"Mode": "lingering"}`), &c); c.Mode != handler.CloseLingering || err != nil {
		t.Errorf("from JSON: %v, %v", c.Mode, err)
	}
}

func TestCloseWithin(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{
		-1: 1, 0: 1, 1: 1, time.Second: 1, time.Second + 1: 2, time.Minute: 60, 1 << 62: 65535,
	} {
		if got := handler.CloseWithin(limit).Limit(); got != want*time.Second {
			t.Errorf("%v: %v; want %ds", limit, got, want)
		}
	}
	for _, mode := range []handler.CloseMode{handler.CloseDefault, handler.CloseReset, handler.CloseLingering} {
		if got := mode.Limit(); got != 0 {
			t.Errorf("%v: %v", mode, got)
		}
	}
}
