// Package handler holds the connections of a TCP server. It defines the Handler
// interface that tcp.Server calls, and has ready-made handlers for it.
//
//	h := &handler.Frames{
//		Codec: frame.Line{},
//		OnFrame: func(c *handler.Client, line []byte) error {
//			return c.WriteFrame(bytes.ToUpper(line))
//		},
//	}
//	if err := tcp.ListenAndServe(&tcp.Config{Address: ":8000"}, h); err != nil {
//		log.Fatal(err)
//	}
//
// # Choosing a handler
//
// Frames reads frames and calls a function for each. It takes care of timeouts,
// batching of replies, memory limits and draining. The function may block. It gets a
// Client, which is one connection: Write and WriteFrame send to it, Pause stops
// reading from it, Close ends it. Most servers use Frames.
//
// Func calls a function for each connection, for protocols without frames. The
// function reads and writes a net.Conn, which is a *Conn. A drain interrupts its Read.
//
// A handler type of your own embeds Conns. That gives it Close and Shutdown. Its Accept
// calls Conns.Serve, and its Handle calls ServeConn.
//
// A type that holds connections in yet another way implements Acceptor.
//
// # The life of a Client
//
//	idle  --- a whole frame arrived ---> busy
//	busy  --- its reply was sent ------> idle
//	idle  --- drain -------------------> FIN at once
//	busy  --- drain -------------------> finishes the frame, sends the reply, then FIN
//	any   --- drain timeout expired ---> RST
//
// All clients are drained at the same time, so a drain takes as long as the slowest
// frame. A client that has sent only part of a frame is idle. One that Go or Hold keeps busy
// for a reply from a goroutine is busy. A frame that had arrived
// when the drain began but was not read yet is served; that is at most one per client.
//
// A drain begins with Shutdown or Close of the handler.
//
// # Closing
//
// A CloseMode says how a connection is closed: by a plain close, a RST, a lingering
// close, or a close that waits for the client's acknowledgement. The server sets it for
// all its connections; CloseWith overrides it for one.
//
// Each connection has a Record, which says how it ended, who ended it and why.
package handler
