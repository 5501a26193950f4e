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
// Every codec has a maximum; what is longer is ErrTooLong, after the frames
// before it and before more of it is buffered. Servers do not use Buffer
// themselves: handler.Frames does.
package frame
