package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wireline/lib/frame"
)

var errRESP = errors.New("protocol error")

// resp is a codec as a user of this package could write it, for the commands of the
// Redis protocol (https://redis.io/docs/latest/develop/reference/protocol-spec/):
// arrays of bulk strings, and inline commands. A frame is a whole encoded command.
// Empty arrays and empty lines are skipped, as in Redis.
type resp struct {
	Max  int // bytes of a command; 0 means frame.DefaultMax
	Args int // elements of an array; 0 means 1024
}

func (r resp) max() int {
	if r.Max == 0 {
		return frame.DefaultMax
	}
	return r.Max
}

func (r resp) args() int64 {
	if r.Args == 0 {
		return 1024
	}
	return int64(r.Args)
}

func (r resp) Split(buf []byte, seen int, _ bool) (command []byte, n int, err error) {
	if buf[0] != '*' {
		return r.inline(buf, seen)
	}
	count, n, err := header(buf, '*')
	switch {
	case err != nil || n == 0:
		return nil, 0, err
	case count > r.args():
		return nil, 0, fmt.Errorf("%w: %d arguments", errRESP, count)
	case count <= 0:
		return nil, n, nil
	}
	for range count {
		size, head, err := header(buf[n:], '$')
		if err != nil || head == 0 {
			return nil, 0, err
		}
		if size < 0 || size > 512<<20 {
			return nil, 0, fmt.Errorf("%w: argument of %d bytes", errRESP, size)
		}
		n += head + int(size) + 2
		if n > r.max() {
			return nil, 0, fmt.Errorf("%w (max %d bytes)", frame.ErrTooLong, r.max())
		}
		if len(buf) < n {
			return nil, 0, nil
		}
		if string(buf[n-2:n]) != "\r\n" {
			return nil, 0, fmt.Errorf("%w: argument without an end", errRESP)
		}
	}
	return buf[:n:n], n, nil
}

func (r resp) inline(buf []byte, seen int) (command []byte, n int, err error) {
	line, n, err := frame.Line{Max: r.Max, KeepEnd: true}.Split(buf, seen, false)
	if len(bytes.TrimSpace(line)) == 0 {
		line = nil
	}
	return line, n, err
}

// header reads a line of a letter and a number, and returns where it ends: 0
// while that is not known.
func header(buf []byte, letter byte) (number int64, n int, err error) {
	if len(buf) == 0 {
		return 0, 0, nil
	}
	if buf[0] != letter {
		return 0, 0, fmt.Errorf("%w: %q instead of %q", errRESP, buf[0], letter)
	}
	end := bytes.Index(buf, []byte("\r\n"))
	if digits := end - 1; digits > 10 || end < 0 && len(buf) > 12 {
		return 0, 0, fmt.Errorf("%w: number of more than 10 digits", errRESP)
	}
	if end < 0 {
		return 0, 0, nil
	}
	digits, negative := bytes.CutPrefix(buf[1:end], []byte("-"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, 0, fmt.Errorf("%w: %q is not a number", errRESP, buf[1:end])
		}
		number = 10*number + int64(c-'0')
	}
	if len(digits) == 0 {
		return 0, 0, fmt.Errorf("%w: no number", errRESP)
	}
	if negative {
		number = -number
	}
	return number, end + 2, nil
}

// Append appends payload, which must be one command.
func (r resp) Append(dst, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return dst, errRESP
	}
	switch command, _, err := r.Split(payload, 0, false); {
	case err != nil:
		return dst, err
	case len(command) != len(payload):
		return dst, errRESP
	}
	return append(dst, payload...), nil
}

// Size returns the number of bytes up to the end of the current argument.
func (r resp) Size(buf []byte) int {
	_, size, err := header(buf, '*')
	for err == nil && size > 0 && size < len(buf) {
		length, head, err := header(buf[size:], '$')
		if err != nil || head == 0 {
			break
		}
		size += head + int(length) + 2
	}
	return size
}

// Discard discards arguments one by one. state is 1 in an inline command; in an array
// it is one more than the number of remaining arguments.
func (r resp) Discard(buf []byte, state uint64, eof bool) (n, next uint64, done bool) {
	switch {
	case state == 1 || state == 0 && buf[0] != '*':
		n, _, done = frame.Line{}.Discard(buf, 0, eof)
		return n, 1, done
	case state == 0:
		count, head, err := header(buf, '*')
		if err != nil {
			return 0, 0, true
		}
		return uint64(head), uint64(count) + 1, false
	}
	size, head, err := header(buf, '$')
	switch {
	case err != nil || size < 0:
		return 0, 0, true // Split returns another error for the rest
	case head == 0:
		return 0, state, false
	}
	return uint64(head) + uint64(size) + 2, state - 1, state == 2
}

func TestRESP(t *testing.T) {
	for name, test := range map[string]struct {
		codec resp
		in    string
		want  []string
	}{
		"commands":            {resp{}, "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n", []string{"=*1\r\n$4\r\nPING\r\n", "=*2\r\n$3\r\nGET\r\n$0\r\n\r\n"}},
		"inline":              {resp{}, "PING\r\nGET k\n*1\r\n$1\r\n\n\r\n", []string{"=PING\r\n", "=GET k\n", "=*1\r\n$1\r\n\n\r\n"}},
		"nothing asked":       {resp{}, "\r\n*0\r\n*-1\r\n \n", nil},
		"binary":              {resp{}, "*1\r\n$4\r\n\r\n*1\r\n", []string{"=*1\r\n$4\r\n\r\n*1\r\n"}},
		"half a command":      {resp{}, "PING\r\n*1\r\n$4\r\nPI", []string{"=PING\r\n", broken}},
		"half a line":         {resp{}, "PING", []string{broken}},
		"no bulk string":      {resp{}, "*1\r\n:4\r\n", []string{broken}},
		"no number":           {resp{}, "*x\r\n", []string{broken}},
		"less than nothing":   {resp{}, "*1\r\n$-1\r\n", []string{broken}},
		"no end of argument":  {resp{}, "*1\r\n$4\r\nPINGPING", []string{broken}},
		"no end of a number":  {resp{}, "*1111111111111111111111", []string{broken}},
		"too many arguments":  {resp{Args: 2}, "*2\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n", []string{"=*2\r\n$1\r\na\r\n$1\r\nb\r\n", broken}},
		"too long":            {resp{Max: 17}, "*1\r\n$7\r\nPINGING\r\n*1\r\n$8\r\nPINGPING\r\nPING\n", []string{"=*1\r\n$7\r\nPINGING\r\n", tooLong, "=PING\n"}},
		"too long, arguments": {resp{Max: 20}, "*4\r\n$2\r\nab\r\n$30\r\n" + strings.Repeat("\r\n$", 10) + "\r\n$0\r\n\r\n$1\r\nx\r\nPING\n", []string{tooLong, "=PING\n"}},
		"too long, inline":    {resp{Max: 4}, "PINGPING\r\nPING\r\n*1\r\n$9\r\n", []string{tooLong, "=PING\r\n", tooLong}},
		"too long and broken": {resp{Max: 20}, "*2\r\n$20\r\n" + strings.Repeat("x", 20) + "\r\n:1\r\nPING\n", []string{tooLong, "=:1\r\n", "=PING\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			for cuts := range uint64(20) {
				checkRecovery(t, test.codec, []byte(test.in), cuts, test.want)
			}
		})
	}
}

func TestRESPGrowsByItsSizes(t *testing.T) {
	command := "*1\r\n$1000000\r\n" + strings.Repeat("x", 1000000) + "\r\n"
	c := &growing{Codec: resp{Max: 1 << 20}}
	if diff := cmp.Diff(outcome{Frames: []string{command}}, split(c, inPieces([]byte(command), 4096)...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.asked == 0 || c.asked > 3 {
		t.Errorf("the buffer grew %d times", c.asked)
	}
}

// growing counts how often a Buffer asks for a size, as it does when it is full.
type growing struct {
	frame.Codec
	asked int
}

func (g *growing) Size(buf []byte) int {
	g.asked++
	return g.Codec.(frame.Sizer).Size(buf)
}

func FuzzRESP(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n"), uint64(3), uint16(0))
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$11\r\nkkkkkkkkkkk\r\nPING\r\n*0\r\n*1\r\n$1\r\n"), uint64(3), uint16(20))
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16) {
		c := resp{Max: int(max)}
		checkChunking(t, c, data, cuts)
		checkRoundTrip(t, c, data, false)
		checkRecovery(t, c, data, cuts, recovered(t, c, data))
	})
}
