package field_test

import (
	"errors"
	"testing"

	"wireline/lib/field"
)

func TestErrors(t *testing.T) {
	var e field.Errors
	e.Check(true, "Good", 1, "not reported")
	if err := e.Err(); err != nil {
		t.Errorf("no failed check: %v, want nil", err)
	}
	e.Check(false, "MaxClients", -1, "must not be negative")
	e.Check(false, "Network", "udp", "must be tcp")
	err := e.Err()
	if want := "MaxClients -1: must not be negative\nNetwork udp: must be tcp"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	var more field.Errors
	more.Add(nil)
	if more.Err() != nil {
		t.Error("nil is an error")
	}
	more.Add(err)
	if more.Err() == nil || more.Err().Error() != err.Error() {
		t.Errorf("got %v, want %v", more.Err(), err)
	}
	var f *field.Error
	if !errors.As(err, &f) || f.Field != "MaxClients" || f.Value != -1 {
		t.Errorf("errors.As found %+v", f)
	}
}
