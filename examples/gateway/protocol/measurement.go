package protocol

import "fmt"

// Measurement is the payload of a Reading: the length of the name in a byte, the name, the value.
type Measurement struct {
	Name  string `json:"name"`
	Value any    `json:"value"` // bool, int64, float64 or string
}

// Append appends m to dst as a payload. It panics if the name or the value cannot be encoded.
func (m Measurement) Append(dst []byte) []byte {
	if !IsName(m.Name) {
		panic(fmt.Sprintf("protocol: a measurement with the name %q", m.Name))
	}
	dst = append(append(dst, byte(len(m.Name))), m.Name...)
	return AppendValue(dst, m.Value)
}

// ParseMeasurement is the reverse of Append. It keeps no part of the payload. The error is an *Error.
func ParseMeasurement(payload []byte) (m Measurement, err error) {
	if len(payload) == 0 || len(payload) <= int(payload[0]) {
		return m, &Error{BadMessage, "a reading without a name and a value"}
	}
	end := 1 + int(payload[0])
	m.Name = string(payload[1:end])
	if !IsName(m.Name) {
		return m, &Error{BadMessage, fmt.Sprintf("a reading with the name %q", m.Name)}
	}
	m.Value, err = ParseValue(payload[end:])
	return m, err
}
