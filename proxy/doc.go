// Package proxy is a TCP proxy that behaves as a wire. What one side sends the
// other gets; the end of a stream arrives as the end of a stream, in each direction
// by itself; a reset arrives as a reset, after the bytes that came before it; and a
// side that does not read holds up the other as it would directly.
//
//	h := proxy.New(proxy.Config{Upstreams: []string{"10.0.0.7:6379", "10.0.0.8:6379"}})
//	if err := tcp.ListenAndServe(&tcp.Config{Address: ":6379"}, h); err != nil {
//		log.Fatal(err)
//	}
//
// On Linux both sockets of a pair are on the same event loop (internal/eventloop): an
// idle pair has two file descriptors and nothing else, no goroutine and no buffer.
// Small messages are copied, one read and one write each; a stream that keeps
// filling the buffer is spliced (splice(2)), so that its bytes never reach the
// process. Connections under TLS, in memory, from wrapped listeners, and all of them
// on other systems, have two goroutines each, with the same contract.
//
// It does not look into what it relays, does not end TLS, and does not relay a TCP
// urgent byte. A unix socket cannot be made to reset its peer: there, what is a reset
// on the other side arrives as the end of the stream.
package proxy
