//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows

package tcp

import "errors"

// supports reports whether the system has o, as far as all systems have it.
func supports(o sockopt) bool {
	switch o {
	case noDelay, keepAlive, closeLinger:
		return true
	}
	return false
}

// inherited reports whether o is set on the listening socket: here all are set on each
// accepted socket.
func inherited(sockopt) bool { return false }

func setOption(uintptr, sockopt, int) error { return errors.ErrUnsupported }

func setBacklog(uintptr, int) error { return errors.ErrUnsupported }
