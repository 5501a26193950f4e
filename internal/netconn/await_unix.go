//go:build unix

package netconn

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// AwaitReset waits until a connection whose FIN was read breaks, of which no further
// Read tells: it is reset, or its keep-alive fails. It returns what happened, or nil
// when the read deadline is over, the connection closed, or nothing can be told of it.
func AwaitReset(conn net.Conn) (broken error) {
	sc, ok := innermost(conn).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	raw.Read(func(fd uintptr) (over bool) {
		broken, over = takeError(int(fd))
		return over
	})
	return broken
}

// Broken returns what has broken a connection, as a Read would tell that had nothing else
// to return; nil if nothing has, or nothing can be told. It tells once: a Read after that
// returns what has arrived, and then io.EOF.
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

// Unread reports whether something has arrived on a connection that was not read yet;
// false where that cannot be told.
func Unread(conn net.Conn) (unread bool) {
	onSocket(conn, func(fd int) {
		var one [1]byte
		n, err := Peek(fd, one[:])
		unread = err == nil && n > 0
	})
	return unread
}

// onSocket calls f with the socket under conn, unless there is none or it is closed.
func onSocket(conn net.Conn, f func(fd int)) {
	sc, ok := innermost(conn).(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// takeError takes the error that waits on a socket. It reports whether there will not be
// another.
func takeError(fd int) (waits error, over bool) {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		waits = os.NewSyscallError("read", syscall.Errno(errno))
	}
	return waits, err != nil || errno != 0
}
