package tcp

import "wireline/lib/field"

// Switch is a setting that is on unless it is turned off. As text it is true or false.
type Switch = field.Switch

// The values of a Switch.
const (
	SwitchOn  = field.SwitchOn // the zero value
	SwitchOff = field.SwitchOff
)
