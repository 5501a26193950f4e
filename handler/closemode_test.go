package handler_test

import (
	"testing"
	"time"

	"wireline/handler"
)

func TestParseCloseMode(t *testing.T) {
	for text, want := range map[string]handler.CloseMode{
		"": handler.CloseDefault, "default": handler.CloseDefault, "reset": handler.CloseReset,
		"lingering": handler.CloseLingering, "1s": handler.CloseBounded(time.Second), "1m30s": handler.CloseBounded(90 * time.Second),
	} {
		got, err := handler.ParseCloseMode(text)
		if got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
		if again, err := handler.ParseCloseMode(got.String()); again != got || err != nil {
			t.Errorf("%q: its String %q is %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"0", "0s", "-1s", "1500ms", "5", "never", "20h", "Reset"} {
		if got, err := handler.ParseCloseMode(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestCloseBounded(t *testing.T) {
	for limit, want := range map[time.Duration]int{
		-1: 1, 0: 1, 1: 1, time.Second: 1, time.Second + 1: 2, time.Minute: 60, 1 << 62: 65535,
	} {
		if seconds, ok := handler.CloseBounded(limit).Linger(); seconds != want || !ok {
			t.Errorf("%v: %d, %t; want %d", limit, seconds, ok, want)
		}
	}
}
