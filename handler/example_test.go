package handler_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"

	"wireline/handler"
	"wireline/lib/frame"
	"wireline/tcptest"
)

// A server that sends a greeting, answers each line in capitals, and counts the lines
// of each client.
func ExampleFrames() {
	type session struct{ lines int }
	h := &handler.Frames{
		Codec: frame.Line{},
		OnOpen: func(c *handler.Client) error {
			c.Value = &session{}
			return c.WriteFrame([]byte("hello"))
		},
		OnFrame: func(c *handler.Client, line []byte) error {
			s := c.Value.(*session)
			s.lines++
			if string(line) == "quit" {
				fmt.Fprintf(c, "%d lines, bye\n", s.lines)
				return handler.ErrQuit
			}
			return c.WriteFrame(bytes.ToUpper(line))
		},
		OnRecord: func(handler.Record) {},
	}
	server := tcptest.NewServer(h)
	defer server.Close()

	conn := server.Dial()
	defer conn.Close()
	io.WriteString(conn, "one\ntwo\nquit\n")
	all, _ := io.ReadAll(conn)
	fmt.Print(string(all))
	// Output:
	// hello
	// ONE
	// TWO
	// 3 lines, bye
}

// A message to all clients, sent outside of any frame function.
func ExampleClients_All() {
	ready := make(chan struct{})
	h := &handler.Frames{OnFrame: func(*handler.Client, []byte) error {
		close(ready)
		return nil
	}}
	server := tcptest.NewServer(h)
	defer server.Close()
	conn := server.Dial()
	defer conn.Close()
	io.WriteString(conn, "here\n")
	<-ready

	for c := range h.Clients().All() {
		c.WriteFrame([]byte("news for all"))
	}
	got := make([]byte, len("news for all\n"))
	io.ReadFull(conn, got)
	fmt.Print(string(got))
	// Output: news for all
}

// A protocol without frames: an echo server.
func ExampleFunc() {
	server := tcptest.NewServer(handler.Func(func(_ context.Context, conn net.Conn) {
		io.Copy(conn, conn)
	}))
	defer server.Close()

	conn := server.Dial()
	io.WriteString(conn, "anything")
	conn.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(conn)
	conn.Close()
	fmt.Println(string(all))
	// Output: anything
}
