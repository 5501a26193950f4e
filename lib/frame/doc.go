// Package frame splits a stream of bytes into the frames of a protocol. It does
// no I/O: codecs are pure functions on bytes, so they can be tested, fuzzed and
// measured without a socket, and TCP's habit of splitting and merging packets
// makes no difference to what comes out.
//
// A Codec says where a frame ends, Buffer keeps what came and hands out whole
// frames:
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
// Servers do not use Buffer themselves: handler.Frames does.
//
// # Codecs
//
//	Line       "hello\n" or "hello\r\n"
//	Delimiter  "hello--", any byte string or the first of several
//	Fixed      frames of one length
//	Length     "\x00\x05hello", and most other headers with a length in them
//	Netstring  "5:hello,"
//	JSONLines  a JSON value on each line
//
// A codec is a value: its fields are set once, and it serves all connections.
// To write another one takes two functions, see Codec; a protocol that changes
// its framing passes another codec to Next from one frame to the next.
//
// # Errors
//
// Every codec has a maximum. What is longer is ErrTooLong, after the frames
// before it and before more of it is buffered: one that begins with its length
// is refused before a byte of it is. A stream that says nonsense is ErrLength.
// Both end the stream, but for ErrTooLong there is another way, Buffer.Discard:
// what is left of that frame is thrown away as it comes, and the frames after
// it follow.
package frame
