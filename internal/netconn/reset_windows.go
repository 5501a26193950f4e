package netconn

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// IsReset reports whether err says that the peer, or the network, has broken
// the connection: WSAECONNRESET, WSAECONNABORTED, WSAENETRESET (a keep-alive without an
// answer) or WSAESHUTDOWN, or what the portable packages use in their place.
func IsReset(err error) bool {
	for _, errno := range []error{
		windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAENETRESET, windows.WSAESHUTDOWN,
		syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// errTimedOut is the system's error for a peer that has not answered in time.
// syscall.ETIMEDOUT is a number of Go's own on Windows, which portable packages use.
const errTimedOut = windows.WSAETIMEDOUT
