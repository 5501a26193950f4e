package proxy

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Where nobody listens, the kernel may choose the upstream's own port for our end, and
// the connect succeeds, with ourselves.
func TestNoConnectToItself(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // of the range that the kernel chooses from
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	for range 100_000 {
		fd, err := beginConnect(to, nil)
		if err != nil {
			continue // it was refused, as nearly always
		}
		err = connected(fd, to)
		unix.Close(fd)
		if err == nil {
			t.Fatal("connected to itself")
		}
		return // that was one
	}
	t.Skip("it did not come to that")
}
