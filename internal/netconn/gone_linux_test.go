package netconn_test

import (
	"net"
	"testing"

	"wireline/internal/netconn"
)

// Only what the peer has broken is gone.
func TestGone(t *testing.T) {
	client, server := pair(t)
	if netconn.Gone(server) || netconn.Gone(wrapper{server}) {
		t.Error("broken from the begin")
	}
	client.(*net.TCPConn).CloseWrite()
	server.Read(make([]byte, 1))
	if netconn.Gone(server) {
		t.Error("broken by a FIN")
	}
	netconn.Reset(client)
	server.(*net.TCPConn).ReadFrom(neverEnding{}) // until it notices
	if !netconn.Gone(server) || !netconn.Gone(wrapper{server}) {
		t.Error("not broken by a RST")
	}
	server.Close()
	if netconn.Gone(server) {
		t.Error("broken when it is closed")
	}
}

// neverEnding is an input without an end.
type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }
