package main

import "wireline/lib/frame"

// codec has lines as frames. Those of users are at most maxLine bytes long. Those to users end in
// "\r\n", as telnet wants it, and may be longer: a message has its sender's name too.
type codec struct{ in, out frame.Line }

func newCodec(maxLine int) codec {
	return codec{in: frame.Line{Max: maxLine}, out: frame.Line{Max: frame.MaxMax, CRLF: true}}
}

// Split implements frame.Codec.
func (c codec) Split(buf []byte, seen int, eof bool) (line []byte, n int, err error) {
	return c.in.Split(buf, seen, eof)
}

// Append implements frame.Codec.
func (c codec) Append(dst, line []byte) ([]byte, error) { return c.out.Append(dst, line) }

// Discard implements frame.Discarder: a line that is too long is skipped.
func (c codec) Discard(buf []byte, state uint64, eof bool) (n, next uint64, done bool) {
	return c.in.Discard(buf, state, eof)
}
