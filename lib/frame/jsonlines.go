package frame

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrJSON reports a payload that is not one valid JSON value.
var ErrJSON = errors.New("payload is not valid JSON")

// JSONLines splits a stream into lines with one JSON value each (https://jsonlines.org,
// NDJSON). Lines end in "\n" or "\r\n". Lines that contain only white space are
// skipped. The zero value accepts lines up to DefaultMax. A last line without an end is
// also a frame.
//
// Split does not check whether a line is valid JSON: the application notices when it
// decodes the line, and checking it twice would double the cost.
type JSONLines struct {
	// Max is the longest line in bytes, without its end. Zero or less means DefaultMax.
	Max int
}

func (j JSONLines) line() Line { return Line{Max: j.Max} }

// Split finds the first line, or skips it if it is blank.
func (j JSONLines) Split(buf []byte, seen int, eof bool) (line []byte, n int, err error) {
	line, n, err = j.line().Split(buf, seen, eof)
	if n > 0 && len(bytes.TrimLeft(line, " \t\r")) == 0 {
		return nil, n, nil
	}
	return line, n, err
}

// Append appends payload and "\n". It returns ErrJSON if payload is not one JSON value,
// ErrDelimiter if it has several lines (json.Compact makes it one line), and ErrTooLong
// if it is longer than Max.
func (j JSONLines) Append(dst, payload []byte) ([]byte, error) {
	head, end, err := j.Wrap(dst, payload)
	if err != nil {
		return dst, err
	}
	return join(head, payload, end), nil
}

// Wrap implements Wrapper. The line end follows the payload.
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
