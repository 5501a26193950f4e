package protocol

import (
	"errors"
	"fmt"
)

// Code says why the gateway closes a connection.
type Code byte

// The codes.
const (
	BadMessage    Code = 1 // a frame or a message is not valid, or not expected
	Late          Code = 2 // the login, or the rest of a frame, has not come in time
	Silent        Code = 3 // the device has sent nothing for too long
	UnknownDevice Code = 4 // the gateway does not know the id, or the certificate is not for it
	Taken         Code = 5 // another device has logged in with the id
	Replaced      Code = 6 // a newer login with the id has taken its place
	Kicked        Code = 7 // an operator has ended the connection
	Stopping      Code = 8 // the gateway stops
	Unavailable   Code = 9 // the gateway cannot tell now whether the id is taken
)

// Again reports whether the device should connect again soon. After the other codes it would only
// get the same answer, or throw out the device that has replaced it.
func (c Code) Again() bool {
	switch c {
	case UnknownDevice, Taken, Replaced, Kicked:
		return false
	}
	return true
}

// Error is the payload of a Failure: a code, and a text for people.
type Error struct {
	Code Code
	Text string // UTF-8
}

func (e *Error) Error() string { return fmt.Sprintf("%s (code %d)", e.Text, e.Code) }

// Append appends e to dst as a payload.
func (e *Error) Append(dst []byte) []byte { return append(append(dst, byte(e.Code)), e.Text...) }

// ParseError is the reverse of Append.
func ParseError(payload []byte) (*Error, error) {
	if len(payload) == 0 {
		return nil, errors.New("a failure without a code")
	}
	return &Error{Code(payload[0]), string(payload[1:])}, nil
}
