// Package proxy is a TCP proxy that behaves as a wire. Each side gets what the other
// sends. The end of a stream arrives as the end of a stream, and leaves the other direction
// open. A reset arrives as a reset, after the bytes that came before it. A side that does
// not read slows the other down, as it would directly.
//
//	h := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{"10.0.0.7:6379", "10.0.0.8:6379"}}}
//	if err := tcp.ListenAndServe(&tcp.Config{Address: ":6379"}, h); err != nil {
//		log.Fatal(err)
//	}
//
// A client and its upstream are a pair of two sides. On Linux both sockets are on the same
// event loop (internal/eventloop): an idle pair has two file descriptors, and no goroutine
// and no buffer. A small message costs one read and one write; a stream that keeps filling
// the buffer is spliced (splice(2)), so that its bytes never reach the process. A side in
// memory or from a wrapped listener, and every side on other systems, has a goroutine of its
// own. Either side may be under TLS (tls.go). The contract is the same.
//
// wire.go and next.go decide what a pair does; they do no I/O. pair.go, side.go and flow.go
// carry it out.
//
// The proxy does not look into what it relays, and does not relay a TCP urgent byte. A unix
// socket cannot be made to reset its peer: there, a reset of the other side arrives as the
// end of the stream.
package proxy
