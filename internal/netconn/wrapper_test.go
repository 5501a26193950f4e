package netconn_test

import (
	"net"
	"testing"

	"wireline/internal/netconn"
)

// farewell is a wrapper with something of its own to release, which like tls.Conn
// sends some last words when it is closed.
type farewell struct {
	net.Conn
	closed *int
}

func (f farewell) NetConn() net.Conn { return f.Conn }

func (f farewell) Close() error {
	*f.closed++
	f.Conn.Write([]byte("bye"))
	return f.Conn.Close()
}

// Reset goes to the connection inside, but who has wrapped it counts on its own
// Close. What that sends must not come before the RST.
func TestResetClosesTheWrapper(t *testing.T) {
	client, server := pair(t)
	closed := 0
	if err := netconn.Reset(farewell{server, &closed}); err != nil {
		t.Errorf("Reset: %v", err)
	}
	if closed != 1 {
		t.Errorf("the wrapper was closed %d times, want once", closed)
	}
	if n, err := client.Read(make([]byte, 10)); n != 0 || !netconn.IsReset(err) {
		t.Errorf("the peer reads %d bytes, %v; want a reset", n, err)
	}
}
