package field_test

import (
	"errors"
	"testing"

	"wireline/lib/field"
)

func TestErrors(t *testing.T) {
	var e field.Errors
	e.Check(true, "Good", 1, "never said")
	if err := e.Err(); err != nil {
		t.Errorf("nothing wrong gives %v", err)
	}
	e.Check(false, "MaxClients", -1, "must not be negative")
	e.Check(false, "Network", "udp", "must be tcp")
	err := e.Err()
	if want := "MaxClients -1: must not be negative\nNetwork udp: must be tcp"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	var f *field.Error
	if !errors.As(err, &f) || f.Field != "MaxClients" || f.Value != -1 {
		t.Errorf("errors.As finds %+v", f)
	}
}
