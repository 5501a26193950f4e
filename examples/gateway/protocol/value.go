package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// The kinds of values, each a byte before the value.
const (
	kindBool    = 0x01 // 1 byte, 0 or 1
	kindInteger = 0x02 // 8 bytes, in two's complement
	kindNumber  = 0x03 // 8 bytes, IEEE 754, finite
	kindText    = 0x04 // UTF-8, to the end of the payload
)

// AppendValue appends a bool, int64, float64 or string to dst. Others make it panic.
func AppendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case bool:
		if v {
			return append(dst, kindBool, 1)
		}
		return append(dst, kindBool, 0)
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, kindInteger), uint64(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, kindNumber), math.Float64bits(v))
	case string:
		return append(append(dst, kindText), v...)
	}
	panic(fmt.Sprintf("protocol: a value of type %T", value))
}

// ParseValue returns the bool, int64, float64 or string that p has, and nothing else. The error is an
// *Error.
func ParseValue(p []byte) (any, error) {
	if len(p) == 0 {
		return nil, badValue(p)
	}
	switch kind, p := p[0], p[1:]; {
	case kind == kindBool && len(p) == 1 && p[0] <= 1:
		return p[0] == 1, nil
	case kind == kindInteger && len(p) == 8:
		return int64(binary.BigEndian.Uint64(p)), nil
	case kind == kindNumber && len(p) == 8:
		if v := math.Float64frombits(binary.BigEndian.Uint64(p)); !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v, nil
		}
	case kind == kindText && utf8.Valid(p):
		return string(p), nil
	}
	return nil, badValue(p)
}

func badValue(p []byte) error {
	return &Error{BadMessage, fmt.Sprintf("% x is no value", p[:min(len(p), 16)])}
}
