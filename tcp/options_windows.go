package tcp

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// optionNames are the options that are set on the listening socket, and that accepted
// sockets inherit.
var optionNames = map[sockopt]int{receiveBuffer: windows.SO_RCVBUF, sendBuffer: windows.SO_SNDBUF}

func supports(o sockopt) bool {
	switch o {
	case userTimeout, fastOpen, deferAccept, reusePort, backlog:
		return false
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
	return os.NewSyscallError("setsockopt", windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, name, value))
}

// setBacklog is not supported: a second listen changes nothing on Windows.
func setBacklog(uintptr, int) error { return errors.ErrUnsupported }
