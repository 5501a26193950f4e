package field

import (
	"errors"
	"fmt"
)

// Error reports a field whose value cannot be used.
type Error struct {
	Field  string // Go name, such as MaxClients
	Value  any
	Reason string // such as "must not be negative"
}

// Error returns the name, the value and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("%s %v: %s", e.Field, e.Value, e.Reason)
}

// Errors collects the errors of a Validate method. The zero value is empty and ready to
// use.
type Errors struct{ list []error }

// Check adds an *Error unless ok is true.
func (e *Errors) Check(ok bool, name string, value any, reason string) {
	if !ok {
		e.list = append(e.list, &Error{Field: name, Value: value, Reason: reason})
	}
}

// Add adds err, unless it is nil. It may be a joined one.
func (e *Errors) Add(err error) {
	if err != nil {
		e.list = append(e.list, err)
	}
}

// Err returns the collected errors, joined with errors.Join, or nil if there are none.
// errors.As finds the first *Error.
func (e *Errors) Err() error { return errors.Join(e.list...) }
