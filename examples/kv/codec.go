package main

import (
	"bytes"
	"fmt"

	"wireline/lib/frame"
)

const (
	// maxLine is the longest inline command, and the longest line with a count or a length, in
	// bytes without the "\n" or "\r".
	maxLine = 64 << 10

	// The codec's limits if its fields are zero.
	defaultMaxArgs    = 1 << 20
	defaultMaxBulk    = 64 << 20
	defaultMaxCommand = 256 << 20

	// maxMaxCommand is the largest MaxCommand: with one more argument it still fits an int of
	// 32 bits.
	maxMaxCommand = 1 << 30
)

// protocolError reports input that is not a command, with the text that Redis uses. The stream
// ends there, since the next command cannot be found.
type protocolError string

const (
	errInlineTooLong  protocolError = "too big inline request"
	errQuotes         protocolError = "unbalanced quotes in request"
	errCountTooLong   protocolError = "too big mbulk count string"
	errCount          protocolError = "invalid multibulk length"
	errLengthTooLong  protocolError = "too big bulk count string"
	errLength         protocolError = "invalid bulk length"
	errCommandTooLong protocolError = "too big request" // Redis closes without an error here
)

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// errNoBulk reports an argument that does not begin with '$'.
func errNoBulk(got byte) error {
	// As C formats it: a zero byte ends the text.
	text := cString(fmt.Appendf(nil, "expected '$', got '%s'", []byte{got}))
	return protocolError(text)
}

// Codec splits a stream into the commands of RESP2: arrays of bulk strings, and inline
// commands. The frame of an array is all of its bytes; that of an inline command is its line
// without the line end, and never begins with '*'. Empty lines and arrays are skipped.
//
// Like Redis, it accepts any two bytes as the end of an argument, and any byte as the "\n" of
// a line with a length.
type Codec struct {
	// MaxArgs is the largest number of arguments of a command, with its name. Zero means
	// 1048576.
	MaxArgs int

	// MaxBulk is the longest argument in bytes, up to frame.MaxMax. Zero means 64 MiB.
	MaxBulk int

	// MaxCommand is the longest command in bytes as received, up to 1 GiB. Zero means 256 MiB.
	MaxCommand int
}

var _ frame.Codec = Codec{}

// Split finds the first command. It searches an inline command once, however it is split. It
// walks an array from its start each time, in one step per argument: it has no place to store
// how far it came.
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

// bulkHead reads the length of the argument at the start of buf. It also returns the length of
// the line with it: 0 if that is not complete.
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

// lengthLine reads the line at the start of buf: a type byte, a number, "\r" and one more
// byte. n is the line's length, 0 if it is not complete, and negative if it is too long. ok is
// false if there is no valid number.
func lengthLine(buf []byte) (v int64, n int, ok bool) {
	for i := 1; i+1 < len(buf) && i < 10; i++ { // nearly all lengths have so few digits
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

// Append appends payload, a command as Split returns it, in the form in which it is sent: an
// array as it is, a line with its line end. It is for clients; replies are not frames of this
// codec.
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
