package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"wireline/lib/frame"
)

var errMemcached = errors.New("CLIENT_ERROR")

// memcached is a codec as a user of this package could write it, for the commands of
// memcached's text protocol (protocol.txt of memcached). A frame is a command line, and
// the data block that follows it in a storage command.
type memcached struct {
	Max int // bytes of a data block; 0 means frame.DefaultMax
}

// command is a line of at most 2048 bytes, as memcached has it.
var command = frame.Line{Max: 2048}

func (m memcached) Split(buf []byte, _ int, _ bool) (whole []byte, n int, err error) {
	// From the start each time: that line is short, and the data behind it is
	// not searched.
	line, n, err := command.Split(buf, 0, false)
	if err != nil || n == 0 {
		return nil, 0, err
	}
	block, err := dataBlock(line)
	if err != nil {
		return nil, 0, err
	}
	if block < 0 {
		return buf[:n:n], n, nil
	}
	if m.Max == 0 && block > frame.DefaultMax || m.Max > 0 && block > int64(m.Max) {
		return nil, 0, fmt.Errorf("%w: a block of %d bytes", frame.ErrTooLong, block)
	}
	n += int(block) + 2
	if len(buf) < n {
		return nil, 0, nil
	}
	if string(buf[n-2:n]) != "\r\n" {
		return nil, 0, fmt.Errorf("%w bad data chunk", errMemcached)
	}
	return buf[:n:n], n, nil
}

// dataBlock returns the size of the data block after a command line, or -1 if there is
// none.
func dataBlock(line []byte) (int64, error) {
	verb, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(verb) {
	case "set", "add", "replace", "append", "prepend", "cas":
	default:
		return -1, nil
	}
	for i := 0; i < 3; i++ { // key, flags, exptime
		field, after, ok := bytes.Cut(rest, []byte(" "))
		if !ok || len(field) == 0 || len(field) > 250 {
			return 0, fmt.Errorf("%w bad command line format", errMemcached)
		}
		rest = after
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	if len(digits) == 0 || len(digits) > 18 {
		return 0, fmt.Errorf("%w bad command line format", errMemcached)
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%w bad command line format", errMemcached)
		}
		n = 10*n + int64(c-'0')
	}
	return n, nil
}

// Append appends payload, which must be one command.
func (m memcached) Append(dst, payload []byte) ([]byte, error) {
	switch whole, _, err := m.Split(payload, 0, false); {
	case err != nil:
		return dst, err
	case len(whole) != len(payload) || len(payload) == 0:
		return dst, errMemcached
	}
	return append(dst, payload...), nil
}

func (m memcached) Size(buf []byte) int {
	line, n, err := command.Split(buf, 0, false)
	if err != nil || n == 0 {
		return 0
	}
	block, err := dataBlock(line)
	if err != nil || block < 0 || block > math.MaxInt32 {
		return 0
	}
	return n + int(block) + 2
}

// Discard goes to the end of the data block, or of a line that is too long:
// the state is 1 within that.
func (m memcached) Discard(buf []byte, state uint64, eof bool) (n, next uint64, done bool) {
	line, length, err := command.Split(buf, 0, false)
	if state == 1 || err != nil {
		n, _, done = command.Discard(buf, 0, eof)
		return n, 1, done
	}
	block, err := dataBlock(line)
	if err != nil || block < 0 || length == 0 {
		return 0, 0, false
	}
	return uint64(length) + uint64(block) + 2, 0, true
}

func TestMemcached(t *testing.T) {
	long := strings.Repeat("k", 2050)
	for name, test := range map[string]struct {
		codec memcached
		in    string
		want  []string
	}{
		"commands":           {memcached{}, "get k\r\nset k 0 0 5\r\nhello\r\nquit\r\n", []string{"=get k\r\n", "=set k 0 0 5\r\nhello\r\n", "=quit\r\n"}},
		"nothing stored":     {memcached{}, "set k 0 0 0\r\n\r\nget k\r\n", []string{"=set k 0 0 0\r\n\r\n", "=get k\r\n"}},
		"lines in a block":   {memcached{}, "cas k 0 0 7 99 noreply\r\n\r\nget\r\n\r\n", []string{"=cas k 0 0 7 99 noreply\r\n\r\nget\r\n\r\n"}},
		"half a command":     {memcached{}, "set k 0 0 5\r\nhel", []string{broken}},
		"no end of a block":  {memcached{}, "set k 0 0 5\r\nhello!!", []string{broken}},
		"no size":            {memcached{}, "set k 0 0\r\n", []string{broken}},
		"less than nothing":  {memcached{}, "set k 0 0 -1\r\n", []string{broken}},
		"key too long":       {memcached{}, "set " + long[:251] + " 0 0 1\r\n", []string{broken}},
		"block too long":     {memcached{Max: 4}, "set k 0 0 5\r\nget\r\n\r\nset k 0 0 4\r\nhell\r\n", []string{tooLong, "=set k 0 0 4\r\nhell\r\n"}},
		"block without end":  {memcached{Max: 4}, "set k 0 0 999999999999999999\r\nget k\r\n", []string{tooLong}},
		"line too long":      {memcached{}, "get " + long + "\r\nset k 0 0 1\r\na\r\n", []string{tooLong, "=set k 0 0 1\r\na\r\n"}},
		"and it has another": {memcached{}, "get " + long + "set k 0 0 9999\r\nget k\r\n", []string{tooLong, "=get k\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			for cuts := range uint64(20) {
				checkRecovery(t, test.codec, []byte(test.in), cuts, test.want)
			}
		})
	}
}

func FuzzMemcached(f *testing.F) {
	for i := range 8 {
		f.Add([]byte("set k 0 0 "+strconv.Itoa(i)+"\r\nhello\r\nget k\r\n"), uint64(3), uint16(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, cuts uint64, max uint16) {
		c := memcached{Max: int(max)}
		checkChunking(t, c, data, cuts)
		checkRoundTrip(t, c, data, false)
		checkRecovery(t, c, data, cuts, recovered(t, c, data))
	})
}
