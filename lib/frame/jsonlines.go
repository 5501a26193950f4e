package frame

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrJSON reports a payload that is not one valid JSON value.
var ErrJSON = errors.New("payload is not valid JSON")

// JSONLines splits lines with one JSON value each (https://jsonlines.org,
// NDJSON), ended by "\n" or "\r\n". Lines of nothing but white space are
// skipped. The zero value takes lines up to DefaultMax. A last line without an
// end is a frame too.
//
// Split does not look into a line: who decodes it sees whether it is valid, and
// to check it twice costs as much again.
type JSONLines struct {
	// Max is the longest line in bytes, its end not counted. Zero or less
	// means DefaultMax.
	Max int
}

func (j JSONLines) line() Line { return Line{Max: j.Max} }

// Split finds the first line, or skips it when it is blank.
func (j JSONLines) Split(buf []byte, seen int, eof bool) (line []byte, n int, err error) {
	line, n, err = j.line().Split(buf, seen, eof)
	if n > 0 && len(bytes.TrimLeft(line, " \t\r")) == 0 {
		return nil, n, nil
	}
	return line, n, err
}

// Append appends payload and "\n". A payload that is not one JSON value is
// ErrJSON, one of several lines ErrDelimiter (json.Compact makes it one), one
// over Max ErrTooLong.
func (j JSONLines) Append(dst, payload []byte) ([]byte, error) {
	head, end, err := j.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, end), nil
}

// Wrap implements Wrapper: the line's end comes after the payload.
func (j JSONLines) Wrap(head, payload []byte) (newHead, end []byte, err error) {
	head, end, err = j.line().Wrap(head, payload)
	if err == nil && !json.Valid(payload) {
		return head, nil, ErrJSON
	}
	return head, end, err
}

// Discard implements Discarder, as Line does.
func (j JSONLines) Discard(buf []byte, state uint64, eof bool) (n, next uint64, done bool) {
	return j.line().Discard(buf, state, eof)
}
