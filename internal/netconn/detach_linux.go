package netconn

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dup returns a further descriptor of the socket of a *net.TCPConn or *net.UnixConn, which is
// the caller's. With conn closed, it takes the socket away from package net, which has a poller
// of its own. Attach undoes that.
func Dup(conn net.Conn) (fd int, err error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return -1, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	ctlErr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, ctlErr); err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// Attach makes a net.Conn of a stream socket, and takes over the descriptor, also when
// it fails. The socket keeps its options.
func Attach(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close() // the connection has a descriptor of its own
	return FileConn(file)
}

// Copy makes a net.Conn of a stream socket, with a descriptor of its own. The socket keeps
// its options.
func Copy(fd int) (net.Conn, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return Attach(dup)
}
