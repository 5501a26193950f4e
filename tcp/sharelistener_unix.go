//go:build unix && !aix

package tcp

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// shareListener returns a listener with a descriptor of its own on the socket of ln.
//
// It does not use the method File of ln: net.FileListener would make the socket block for a moment,
// and with it an accept of ln.
func shareListener(ln net.Listener) (net.Listener, error) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return nil, errCannotShare
	}
	file, err := dupFile(sc)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return net.FileListener(file)
}

// dupFile returns a file of a descriptor's own on what sc has.
func dupFile(sc syscall.Conn) (*os.File, error) {
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	dup, dupErr := -1, error(nil)
	err = raw.Control(func(fd uintptr) { dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), "listener"), nil
}
