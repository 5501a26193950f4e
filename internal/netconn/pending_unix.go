//go:build unix

package netconn

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"wireline/internal/rawfd"
)

// Broken returns what has broken a connection; nil if it is not broken, or that cannot be
// told. It takes the pending error: a Read after it returns what has arrived, and then
// io.EOF.
func Broken(conn net.Conn) (broken error) {
	if c, ok := innermost(conn).(interface{ WasReset() bool }); ok { // in memory, as of tcptest
		if c.WasReset() {
			broken = os.NewSyscallError("read", syscall.ECONNRESET)
		}
		return broken
	}
	onSocket(conn, func(fd int) { broken, _ = takeError(fd) })
	return broken
}

// Unread reports whether a connection has unread input; false where that cannot be told.
func Unread(conn net.Conn) (unread bool) {
	onSocket(conn, func(fd int) {
		var one [1]byte
		n, err := rawfd.Peek(fd, one[:])
		unread = err == nil && n > 0
	})
	return unread
}

// onSocket calls f with the socket under conn, if there is one and it is open.
func onSocket(conn net.Conn, f func(fd int)) {
	sc, ok := innermost(conn).(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// takeError takes the pending error of a socket. over reports whether there can be no
// other one.
func takeError(fd int) (waits error, over bool) {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		waits = os.NewSyscallError("read", syscall.Errno(errno))
	}
	return waits, err != nil || errno != 0
}
