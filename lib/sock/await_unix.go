//go:build unix

package sock

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
	raw.Read(func(fd uintptr) bool {
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			broken = os.NewSyscallError("read", syscall.Errno(errno))
		}
		return err != nil || errno != 0
	})
	return broken
}
