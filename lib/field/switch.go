package field

import "strconv"

// Switch is a setting that is on unless it is turned off. As text it is true or false.
type Switch int8

// The values of a Switch.
const (
	SwitchOn Switch = iota // the zero value
	SwitchOff
)

// On reports whether s is on.
func (s Switch) On() bool { return s != SwitchOff }

// String returns true or false.
func (s Switch) String() string { return strconv.FormatBool(s.On()) }

// MarshalText implements encoding.TextMarshaler.
func (s Switch) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads what strconv.ParseBool does.
func (s *Switch) UnmarshalText(text []byte) error {
	on, err := strconv.ParseBool(string(text))
	if err != nil {
		return &Error{Field: "Switch", Value: string(text), Reason: "is not true or false"}
	}
	if *s = SwitchOff; on {
		*s = SwitchOn
	}
	return nil
}
