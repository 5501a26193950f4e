package protocol

// Result is the payload of an Answer: a byte that says whether the device has refused the command, 0 or
// 1, and its output.
type Result struct {
	Refused bool
	Output  []byte
}

// Append appends r to dst as a payload.
func (r Result) Append(dst []byte) []byte {
	if r.Refused {
		return append(append(dst, 1), r.Output...)
	}
	return append(append(dst, 0), r.Output...)
}

// ParseResult is the reverse of Append. The output is a part of the payload. The error is an *Error.
func ParseResult(payload []byte) (r Result, err error) {
	if len(payload) == 0 || payload[0] > 1 {
		return r, &Error{BadMessage, "an answer without 0 or 1 at its beginning"}
	}
	return Result{payload[0] == 1, payload[1:]}, nil
}
