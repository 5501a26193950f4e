package netconn

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// IsReset reports whether err says that the peer, or the network, has broken
// the connection: WSAECONNRESET, WSAECONNABORTED or WSAESHUTDOWN, or what the
// portable packages use in their place.
func IsReset(err error) bool {
	for _, errno := range []error{
		windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAESHUTDOWN,
		syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
