package proxy_test

import (
	"strings"
	"testing"

	"wireline/internal/testutil"
	"wireline/proxy"
	"wireline/tcp"
)

// A server does not begin to serve a proxy that is its own upstream.
func TestServerRefusesItsOwnUpstream(t *testing.T) {
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{ln.Addr().String()}}}
	err := (&tcp.Server{Handler: x}).Serve(t.Context(), ln)
	if err == nil || !strings.Contains(err.Error(), "must not name this server's own address") {
		t.Errorf("Serve: %v", err)
	}
	address := ln.Addr().String() // closed, so it is free
	err = tcp.ListenAndServe(&tcp.Config{Address: address}, x)
	if err == nil || !strings.Contains(err.Error(), "must not name this server's own address") {
		t.Errorf("ListenAndServe: %v", err)
	}
}
