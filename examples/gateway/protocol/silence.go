package protocol

import (
	"encoding/binary"
	"time"
)

// AppendSilence appends the payload of a Welcome: for how long a device may send nothing, in
// milliseconds, in 4 bytes.
func AppendSilence(dst []byte, d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(d.Milliseconds()))
}

// ParseSilence is the reverse of AppendSilence. The error is an *Error.
func ParseSilence(payload []byte) (time.Duration, error) {
	if len(payload) != 4 {
		return 0, &Error{BadMessage, "a welcome without 4 bytes"}
	}
	return time.Duration(binary.BigEndian.Uint32(payload)) * time.Millisecond, nil
}
