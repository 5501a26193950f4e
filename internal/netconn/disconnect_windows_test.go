package netconn_test

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/windows"

	"wireline/internal/netconn"
)

// Winsock has numbers of its own.
func TestIsDisconnectOfWinsock(t *testing.T) {
	for _, errno := range []error{
		windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAENETRESET, windows.WSAESHUTDOWN, windows.WSAETIMEDOUT,
	} {
		err := &net.OpError{Op: "read", Err: os.NewSyscallError("wsarecv", errno)}
		if !netconn.IsDisconnect(err) {
			t.Errorf("%v is no disconnect", err)
		}
	}
	if err := windows.WSAENOBUFS; netconn.IsDisconnect(err) {
		t.Errorf("%v is a disconnect", err)
	}
}
