//go:build unix

package netconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CanReadNow reports whether ReadNow can read from conn.
func CanReadNow(conn net.Conn) bool {
	_, ok := conn.(syscall.Conn)
	return ok
}

// ReadNow reads what has arrived on a socket of package net, without waiting and whatever the
// deadlines are. If nothing has arrived, empty is true. The end of the stream is io.EOF. For
// any other connection, and on other systems, the error is errors.ErrUnsupported.
func ReadNow(conn net.Conn, p []byte) (n int, empty bool, err error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	var readErr error
	err = raw.Control(func(fd uintptr) {
		for {
			n, _, readErr = unix.Recvfrom(int(fd), p, unix.MSG_DONTWAIT)
			if readErr != unix.EINTR {
				return
			}
		}
	})
	switch {
	case err != nil:
		return 0, false, err
	case readErr == unix.EAGAIN:
		return 0, true, nil
	case readErr != nil:
		return 0, false, os.NewSyscallError("read", readErr)
	case n == 0:
		return 0, false, io.EOF
	}
	return n, false, nil
}
