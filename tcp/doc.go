// Package tcp has the server: it listens, accepts connections, limits how many there are,
// gives them to a handler.Handler, and stops in good order.
//
// ListenAndServe serves until a signal stops the process. It returns nil after a clean
// stop:
//
//	if err := tcp.ListenAndServe(&tcp.Config{Address: ":8000"}, h); err != nil {
//		log.Fatal(err)
//	}
//
// Group is the same for several servers in one process, which come and go while it runs:
//
//	g := tcp.Group{Servers: []*tcp.Server{
//		{Name: "chat", Config: chatConfig, Handler: chat},
//		{Name: "mail", Config: mailConfig, Handler: mail},
//	}}
//	err := g.Run(ctx)
//
// Server is for programs that have a listener, or a life-cycle, of their own. Its words
// are those of net/http.Server:
//
//	srv := &tcp.Server{Handler: h}
//	go srv.Serve(ctx, ln)
//	...
//	err := srv.Shutdown(ctx)
//
// # Stopping
//
// A signal starts the stop. For GraceDelay the server goes on as before. Then it accepts
// the connections in the kernel's queue and closes the listener, and the clients finish
// what they are doing, all at the same time. Connections that are left after DrainTimeout
// are reset. A second signal resets them at once.
//
// # Changing
//
// Server.Reconfigure gives a server that runs another configuration. Connections that are there go
// on as they are. Group.Change does the same for several servers, and adds and removes others: all
// or nothing.
//
// # Accepting
//
// A temporary failure does not end the accept loop. When the system is out of file
// descriptors, buffers or memory, or a client has gone before it was accepted, the loop
// tries again: after 5 ms, doubling to 1 s, or as soon as a connection ends.
//
// # Before the handler
//
// The PROXY header and the TLS handshake come before the handler gets a connection. The
// handler reads them from the connection's context, by ProxyHeader and TLSState.
//
// The package parses no other protocol, and reads no files but certificates. Package
// config of this module fills in its Config.
package tcp
