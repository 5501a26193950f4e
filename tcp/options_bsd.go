//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package tcp

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// optionNames are the options that are set on the listening socket, and that accepted
// sockets inherit.
var optionNames = map[sockopt]int{
	reusePort:     unix.SO_REUSEPORT,
	receiveBuffer: unix.SO_RCVBUF,
	sendBuffer:    unix.SO_SNDBUF,
}

func supports(o sockopt) bool {
	switch o {
	case userTimeout, fastOpen, deferAccept:
		return false
	case keepIdle, keepInterval, keepCount:
		return runtime.GOOS != "openbsd" // it has them only for the whole system
	}
	return true
}

// inherited reports whether o is set on the listening socket. The others are set on each
// accepted socket.
func inherited(o sockopt) bool { return optionNames[o] != 0 }

func setOption(fd uintptr, o sockopt, value int) error {
	name := optionNames[o]
	if name == 0 {
		return errors.ErrUnsupported
	}
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, name, value); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, name); err == nil && o != reusePort && got < value {
		return fmt.Errorf("the system allows %d bytes at most", got)
	}
	return nil
}

// setBacklog changes the length of the queue of a socket that listens. Zero is the system's maximum.
func setBacklog(fd uintptr, length int) error {
	if length == 0 {
		length = math.MaxInt32 // listen(2) shortens it
	}
	return os.NewSyscallError("listen", unix.Listen(int(fd), length))
}
