package client_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"strings"

	"wireline/client"
	"wireline/handler"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// A client of a server that answers lines in capitals. The first word of a line is its id.
func Example() {
	server := tcptest.NewUnstartedServer(&handler.Frames{
		OnFrame: func(c *handler.Client, line []byte) error {
			id, text, _ := strings.Cut(string(line), " ")
			return c.WriteFrame([]byte(id + " " + strings.ToUpper(text)))
		},
	})
	ln := tcptest.Listen()
	server.Serve(ln)
	defer server.Close()

	d := &client.Dialer{
		Codec: frame.Line{},
		ID: func(line []byte) (id string, ok bool) {
			id, _, ok = strings.Cut(string(line), " ")
			return id, ok
		},
		// In memory. Without this field, the address is dialled.
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return ln.DialContext(ctx) },
	}
	defer d.Close()
	c, err := d.Dial(context.Background(), "tcp", "server.example:7000")
	if err != nil {
		log.Fatal(err)
	}
	answer, err := c.Request(context.Background(), []byte("1 hello"))
	fmt.Println(string(answer), err)
	// Output: 1 HELLO <nil>
}

// The wait before each attempt is random, and has these limits.
func ExampleBackoff() {
	b := client.Backoff{}
	for attempt := range 8 {
		fmt.Print(b.Limit(attempt), " ")
	}
	// Output: 500ms 1s 2s 4s 8s 16s 30s 30s
}
