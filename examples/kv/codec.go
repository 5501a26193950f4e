package main

import (
	"bytes"
	"fmt"

	"wireline/lib/frame"
)

const (
	// maxLine is the longest inline command, and the longest line with a
	// count or a length, in bytes without the "\n" or the "\r".
	maxLine = 64 << 10

	// The codec's limits where its fields are zero.
	defaultMaxArgs    = 1 << 20
	defaultMaxBulk    = 64 << 20
	defaultMaxCommand = 256 << 20

	// maxMaxCommand is the largest MaxCommand there is: with an argument more,
	// it still fits where int has 32 bits.
	maxMaxCommand = 1 << 30
)

// protocolError says what in the stream is no command. Its text is what Redis
// says. The stream ends there: nobody knows where the next command begins.
type protocolError string

const (
	errInlineTooLong  protocolError = "too big inline request"
	errQuotes         protocolError = "unbalanced quotes in request"
	errCountTooLong   protocolError = "too big mbulk count string"
	errCount          protocolError = "invalid multibulk length"
	errLengthTooLong  protocolError = "too big bulk count string"
	errLength         protocolError = "invalid bulk length"
	errCommandTooLong protocolError = "too big request" // where Redis closes without a word
)

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// errNoBulk is for an argument that begins with something else than '$'.
func errNoBulk(got byte) error {
	// As C formats it: a zero byte ends the text.
	text := cString(fmt.Appendf(nil, "expected '$', got '%s'", []byte{got}))
	return protocolError(text)
}

// Codec splits a stream into the commands of RESP2: arrays of bulk strings, and
// inline commands. The frame of an array is all of it as it came; that of an
// inline command is its line without the end, which never begins with '*'. What
// carries no command, an empty line or array, is skipped.
//
// As Redis does, it takes any two bytes for the end of an argument, and any byte
// for the "\n" of a line with a length.
type Codec struct {
	// MaxArgs is the longest command in arguments, with its name. Zero means
	// 1048576.
	MaxArgs int

	// MaxBulk is the longest argument in bytes, up to frame.MaxMax. Zero means
	// 64 MiB.
	MaxBulk int

	// MaxCommand is the longest command in bytes, as it comes, up to 1 GiB.
	// Zero means 256 MiB.
	MaxCommand int
}

var _ frame.Codec = Codec{}

// Split finds the first command. An inline command is searched once, however it
// is cut up. An array is walked from its start each time, by one step for each
// argument: there is nowhere to note how far it was.
func (c Codec) Split(buf []byte, seen int, eof bool) (command []byte, n int, err error) {
	if len(buf) > 0 && buf[0] == '*' {
		return c.splitArray(buf)
	}
	return splitInline(buf, seen)
}

// splitInline splits off a line.
func splitInline(buf []byte, seen int) (line []byte, n int, err error) {
	end := min(len(buf), maxLine+1)
	seen = min(seen, end)
	i := bytes.IndexByte(buf[seen:end], '\n')
	if i < 0 {
		if len(buf) > maxLine {
			return nil, 0, errInlineTooLong
		}
		return nil, 0, nil
	}
	i += seen
	n = i + 1
	if i > 0 && buf[i-1] == '\r' {
		i--
	}
	if i == 0 {
		return nil, n, nil
	}
	return buf[:i:i], n, nil
}

// splitArray splits off an array.
func (c Codec) splitArray(buf []byte) (array []byte, n int, err error) {
	count, n, ok := lengthLine(buf)
	switch {
	case n < 0:
		return nil, 0, errCountTooLong
	case n == 0:
		return nil, 0, nil
	case !ok || count > int64(c.maxArgs()):
		return nil, 0, errCount
	case count <= 0:
		return nil, n, nil
	}
	for range count {
		size, head, err := c.bulkHead(buf[n:])
		if head == 0 || err != nil {
			return nil, 0, err
		}
		n += head + size + len("\r\n")
		if n > c.maxCommand() {
			return nil, 0, errCommandTooLong
		}
		if n > len(buf) {
			return nil, 0, nil
		}
	}
	return buf[:n:n], n, nil
}

// bulkHead reads the length of the argument at the start of buf, and how long
// the line is that has it: 0 if it is not all there.
func (c Codec) bulkHead(buf []byte) (size, n int, err error) {
	length, n, ok := lengthLine(buf)
	switch {
	case n < 0:
		return 0, 0, errLengthTooLong
	case n == 0:
		return 0, 0, nil
	case buf[0] != '$':
		return 0, 0, errNoBulk(buf[0])
	case !ok || length < 0 || length > int64(c.maxBulk()):
		return 0, 0, errLength
	}
	return int(length), n, nil
}

// lengthLine reads the line at the start of buf: a byte that says of what, a
// number, "\r" and one byte more. n is its length, 0 if it is not all there, and
// negative if it is too long; ok is false if that is no number.
func lengthLine(buf []byte) (v int64, n int, ok bool) {
	for i := 1; i+1 < len(buf) && i < 10; i++ { // nearly all there are
		digit := buf[i] - '0'
		if digit > 9 {
			if buf[i] == '\r' && (i == 2 || i > 2 && buf[1] != '0') {
				return v, i + 2, true
			}
			break
		}
		v = v*10 + int64(digit)
	}
	i := bytes.IndexByte(buf[:min(len(buf), maxLine+1)], '\r')
	switch {
	case i < 0 && len(buf) > maxLine:
		return 0, -1, false
	case i < 0 || i+1 == len(buf):
		return 0, 0, false
	}
	if i > 0 {
		v, ok = parseInt(buf[1:i])
	}
	return v, i + 2, ok
}

// Append appends payload, a command as Split returns it, as it is to be sent:
// an array as it is, a line with its end. It is for clients; replies are none
// of this codec's frames.
func (c Codec) Append(dst, payload []byte) ([]byte, error) {
	whole := payload
	if len(payload) == 0 || payload[0] != '*' {
		whole = append(payload[:len(payload):len(payload)], "\r\n"...)
	}
	command, n, err := c.Split(whole, 0, false)
	switch {
	case err != nil:
		return dst, err
	case command == nil || n != len(whole) || !bytes.Equal(command, payload):
		return dst, frame.ErrDelimiter
	}
	return append(dst, whole...), nil
}

func (c Codec) maxArgs() int {
	if c.MaxArgs <= 0 {
		return defaultMaxArgs
	}
	return c.MaxArgs
}

func (c Codec) maxBulk() int {
	if c.MaxBulk <= 0 {
		return defaultMaxBulk
	}
	return min(c.MaxBulk, frame.MaxMax)
}

func (c Codec) maxCommand() int {
	if c.MaxCommand <= 0 {
		return defaultMaxCommand
	}
	return min(c.MaxCommand, maxMaxCommand)
}
