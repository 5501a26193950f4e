package frame_test

import (
	"errors"
	"fmt"
	"net"
	"os"

	"wireline/lib/frame"
)

// The frames are the same however the stream is cut into pieces.
func ExampleBuffer() {
	var in frame.Buffer
	for _, piece := range []string{"one\r\ntw", "o\n", "three"} {
		in.Filled(copy(in.Space(), piece))
		for {
			line, ok, err := in.Next(frame.Line{}, piece == "three")
			if err != nil || !ok {
				break
			}
			fmt.Printf("%q\n", line)
		}
	}
	// Output:
	// "one"
	// "two"
	// "three"
}

// A client may continue after a frame that is too long.
func ExampleBuffer_Discard() {
	codec := frame.Line{Max: 5}
	var in frame.Buffer
	in.Filled(copy(in.Space(), "one\nmuch too long\ntwo\n"))
	for {
		line, ok, err := in.Next(codec, false)
		if errors.Is(err, frame.ErrTooLong) && in.Discard(codec) {
			fmt.Println(err)
			continue
		}
		if err != nil || !ok {
			break
		}
		fmt.Printf("%q\n", line)
	}
	// Output:
	// "one"
	// frame too long (max 5 bytes)
	// "two"
}

// A large payload is written without being copied, together with the bytes before
// and after it.
func ExampleWrapper() {
	var codec frame.Wrapper = frame.Netstring{}
	payload := []byte("hello")
	head, tail, err := codec.Wrap(nil, payload)
	if err != nil {
		fmt.Println(err)
		return
	}
	message := net.Buffers{head, payload, tail}
	message.WriteTo(os.Stdout) // for a *net.TCPConn, one writev(2)
	// Output:
	// 5:hello,
}
