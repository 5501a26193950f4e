package field

import (
	"errors"
	"fmt"
)

// Error names a field, its value and what is wrong with it.
type Error struct {
	Field  string // the Go name, as MaxClients
	Value  any
	Reason string // as "must not be negative"
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %v: %s", e.Field, e.Value, e.Reason)
}

// Errors collects what a Validate method finds. The zero value is ready.
type Errors struct{ list []error }

// Check adds an error unless ok.
func (e *Errors) Check(ok bool, name string, value any, reason string) {
	if !ok {
		e.list = append(e.list, &Error{Field: name, Value: value, Reason: reason})
	}
}

// Err returns all of them joined, or nil. The joined error's Unwrap() []error
// gives each *Error.
func (e *Errors) Err() error { return errors.Join(e.list...) }
