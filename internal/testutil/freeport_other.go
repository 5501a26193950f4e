//go:build !unix

package testutil

import (
	"net"
	"testing"
)

// FreePort returns a port of 127.0.0.1 that was free just now.
func FreePort(t testing.TB) string {
	t.Helper()
	ln := Listen(t, "tcp", "127.0.0.1:0")
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}
