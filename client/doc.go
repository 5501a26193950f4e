// Package client dials out with what servers are made of: the codecs of package frame, frame
// functions, and the event loops of package handler. It is for programs that talk to a server
// for a long time: it makes the connection again when it is lost, matches answers to requests, and
// says what has become of each request.
//
//	d := &client.Dialer{
//		Codec:   frame.Line{},
//		ID:      func(line []byte) (string, bool) { id, _, ok := strings.Cut(string(line), " "); return id, ok },
//		OnFrame: func(c *client.Conn, line []byte) error { ...; return nil }, // what answers no request
//	}
//	defer d.Close()
//	c, err := d.Dial(ctx, "tcp", "server.example:7000")
//	...
//	answer, err := c.Request(ctx, []byte("17 GET temperature"))
//
// A Conn is either connected or away. What is sent while it is away waits in a queue, which is
// bounded, and goes out when it is connected again, after the login by OnConnect. What was given to
// a connection that has ended is not sent again, because the server may have served it: such a
// request ends with ErrLost, and the caller decides. So a request ends in one of these ways: with
// its own answer; with ErrLost; with an error that says that it was never sent; or with the error
// of its context.
//
// A connection that is idle has no goroutine and no buffer of its own on Linux, so a process may have
// many thousands.
package client
