// Package proto is the protocol of the rpc example: the frames and the messages, for its server and its
// client.
//
// A frame is a length of four bytes, big endian, and a JSON object:
//
//	request   {"id": 7, "method": "add", "params": [1, 2]}
//	answer    {"id": 7, "result": 3}
//	failure   {"id": 7, "error": {"code": "unknown_method", "message": "..."}}
//	notice    {"method": "notice", "params": "..."}
//
// A client may send further requests before the answers to earlier ones, and the answers may come in
// any order.
package proto

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"wireline/lib/frame"
)

// DefaultMax is the longest message in bytes if nothing else is set.
const DefaultMax = 1 << 20

// Codec returns the codec of messages that have at most max bytes.
func Codec(max int) frame.Length { return frame.Length{Width: 4, Max: max} }

// Message is a request, if it has a method; a notice, if it has a method and no id; or else an answer.
type Message struct {
	ID     uint64          `json:"id,omitempty"` // never 0 in a request
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Encode returns v as JSON. It does not escape characters of HTML, as json.Marshal does, so that an
// answer is no longer than what a client has sent.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ID returns the id that a request and its answer have in common, for client.Dialer.
func ID(frame []byte) (id string, ok bool) {
	var m struct {
		ID uint64 `json:"id"`
	}
	if json.Unmarshal(frame, &m) != nil || m.ID == 0 {
		return "", false
	}
	return strconv.FormatUint(m.ID, 10), true
}

// Code says what kind of failure an Error is.
type Code string

// The codes.
const (
	CodeBadRequest    Code = "bad_request" // no request, or one without an id
	CodeUnknownMethod Code = "unknown_method"
	CodeBadParams     Code = "bad_params"
	CodeTimeout       Code = "timeout"   // the method has taken too long
	CodeTooLarge      Code = "too_large" // the method has run, and its answer is longer than a message may be
	CodeFailed        Code = "failed"
)

// Error is a failure that the server answers with.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// Errorf returns an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Answer returns the answer to a request: the result, or err, which is CodeFailed unless it is an *Error.
func Answer(id uint64, result any, err error) Message {
	m := Message{ID: id}
	if err == nil {
		m.Result, err = Encode(result)
	}
	if err != nil {
		m.Result = nil
		var ok bool
		if m.Error, ok = err.(*Error); !ok {
			m.Error = Errorf(CodeFailed, "%v", err)
		}
	}
	return m
}
