//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows

package tcp

import "errors"

// supports reports whether the system, of which nobody has looked closer, has o.
func supports(o sockopt) bool {
	switch o {
	case noDelay, keepAlive, closeLinger:
		return true
	}
	return false
}

// inherited says whether o is set on the listening socket. The others are set on each
// socket that is accepted.
func inherited(sockopt) bool { return false }

func setOption(uintptr, sockopt, int) error { return errors.ErrUnsupported }

func setBacklog(uintptr, int) error { return errors.ErrUnsupported }
