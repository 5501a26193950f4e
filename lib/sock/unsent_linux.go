package sock

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unsent is how many bytes of what was written to a socket its peer has not
// acknowledged yet (tcp(7) and unix(7), SIOCOUTQ); zero where that cannot be told.
func Unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// unsent is Unsent of the socket under conn.
func unsent(conn net.Conn) (n int) {
	sc, ok := innermost(conn).(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n = Unsent(int(fd)) })
	return n
}
