//go:build !windows

package netconn

import (
	"errors"
	"syscall"
)

// IsReset reports whether err says that the peer, or the network, has broken
// the connection: ECONNRESET, EPIPE (a write after that, or after its close) or
// ECONNABORTED.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// errTimedOut is the system's error for a peer that has not answered in time.
const errTimedOut = syscall.ETIMEDOUT
