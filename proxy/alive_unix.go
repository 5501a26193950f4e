//go:build unix

package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"wireline/internal/netconn"
)

// alive looks at a connection that waits, without sending or taking anything: the
// upstream has not closed it. Bytes that are there to be read are a greeting on a
// fresh one, and on a used one a reply that its client did not wait for.
func alive(conn net.Conn, used bool) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return !used
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	ok = false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		n, err := netconn.Peek(int(fd), one[:])
		ok = err == unix.EAGAIN || err == nil && n > 0 && !used
	})
	return err == nil && ok
}
