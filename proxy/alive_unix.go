//go:build unix

package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"wireline/internal/rawfd"
)

// alive reports whether a connection that waits in a pool is of use: the upstream has not
// closed it. It sends nothing. Unread bytes are a greeting on a fresh connection; on a used one
// they are a reply that its client did not wait for. Under TLS it reads the messages of
// the protocol, such as session tickets.
func alive(conn net.Conn, used bool) bool {
	if t := tlsOf(conn); t != nil {
		unread, err := t.Peek()
		return err == nil && !(unread && used)
	}
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
		n, err := rawfd.Peek(int(fd), one[:])
		ok = err == unix.EAGAIN || err == nil && n > 0 && !used
	})
	return err == nil && ok
}
