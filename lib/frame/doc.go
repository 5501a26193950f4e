// Package frame splits a stream of bytes into frames. It does no I/O: codecs are pure
// functions on bytes, so they can be tested, fuzzed and measured without a socket. The
// result does not depend on how TCP has split and merged the bytes.
//
// A Codec finds the end of a frame. A Buffer keeps the bytes that have arrived and
// returns whole frames:
//
//	var in frame.Buffer
//	n, err := conn.Read(in.Space())
//	in.Filled(n)
//	for {
//		line, ok, err := in.Next(frame.Line{}, err == io.EOF)
//		if !ok {
//			break
//		}
//		...
//	}
//
// Servers do not need to use Buffer: handler.Frames does that for them.
//
// # Codecs
//
//	Line       "hello\n" or "hello\r\n"
//	Delimiter  "hello--", any byte string or the first of several
//	Fixed      frames of one length
//	Length     "\x00\x05hello", and most other headers with a length in them
//	Checked    "\x7e\x00\x05hello\xc2\x14", Length with a marker and a checksum
//	Netstring  "5:hello,"
//	JSONLines  a JSON value on each line
//	DotBlock   lines up to one of a single dot, as a message in SMTP
//
// A codec is a value. Its fields are set once, and it serves all connections at the
// same time. A codec of your own needs two methods; see Codec. A protocol that changes
// its framing passes another codec to Next for the next frame.
//
// # Errors
//
// Every codec has a maximum frame size. A longer frame is reported as ErrTooLong, after
// the frames before it and without buffering the rest of it. A frame that begins with
// its length is refused as soon as the length is known. An invalid length is reported
// as ErrLength, a wrong marker or checksum as ErrMagic or ErrChecksum, and a line end other than "\r\n", where only that is allowed, as ErrLineEnd.
//
// An error ends the stream. The exception is ErrTooLong: Buffer.Discard discards the
// rest of that frame as it arrives, and then the next frames follow.
package frame
