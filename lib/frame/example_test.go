package frame_test

import (
	"fmt"

	"wireline/lib/frame"
)

// However the stream is cut into pieces, the frames are the same.
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
