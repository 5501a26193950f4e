// Package handler has what serves connections: the Handler contract, the set of
// a handler's clients, and Frames, the handler that most servers are built on.
//
//	h := &handler.Frames{
//		Codec: frame.Line{},
//		Serve: func(c *handler.Client, line []byte) error {
//			return c.WriteFrame(bytes.ToUpper(line))
//		},
//	}
//	if err := tcp.ListenAndServe(&tcp.Config{Address: ":8000"}, h); err != nil {
//		log.Fatal(err)
//	}
//
// # Which one to take
//
// Frames reads, splits and answers frames. It owns time-outs, batching of
// replies, limits on memory and draining, and the function it calls may block.
//
// Func is for a protocol that has no frames, or that reads for itself: the
// function gets a net.Conn, and what it needs of a drain and of the record is
// in that net.Conn.
//
// A type of one's own embeds Clients, which gives it Close and Shutdown, calls
// Clients.Add in Handle, and uses the Conn that it returns.
//
// # A client's life
//
//	idle  --- a whole frame is there ---> busy
//	busy  --- its reply is written -----> idle
//	idle  --- drain --------------------> FIN at once
//	busy  --- drain --------------------> finishes this frame, reply, FIN
//	any   --- the drain's time is up ---> RST
//
// A drain treats all clients at the same time, so it takes as long as the
// slowest frame, not the sum. A client with half a frame is idle: nothing was
// promised for that. A frame that had arrived when the drain began, and was not
// read yet, is served: at most one for each client.
//
// How a connection ends, who ended it and why is in its Record.
package handler
