// Package tcp owns the listener: it accepts connections, bounds how many are
// admitted, gives them to a handler.Handler and stops in good order.
//
// ListenAndServe is a whole program's life, with its signals. It returns nil after a clean
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
// A signal starts the drain: GraceDelay as before; then what waits in the
// kernel's queue is accepted and the listener closed; then the handler's
// clients finish what they are in, all at the same time; what is left at
// DrainTimeout is reset. A second signal cuts at once.
//
// # Accepting
//
// Nothing that passes ends the accept loop: when the system is out of file
// descriptors, buffers or memory, or a client has gone before it was accepted,
// the loop waits 5 ms, doubling to 1 s, and less when a connection ends.
//
// # Before the handler
//
// The PROXY protocol's header and TLS come before a handler has its connection: what
// they told is ProxyHeader and TLSState, for its context.
//
// The package parses no other protocol, and imports no configuration library.
// Package config of this module reads its Config from a file.
package tcp
