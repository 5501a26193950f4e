package netconn

import (
	"net"

	"golang.org/x/sys/unix"

	"wireline/internal/rawfd"
)

// Unacknowledged is rawfd.Unsent of the socket under conn.
func Unacknowledged(conn net.Conn) (n int) {
	onSocket(conn, func(fd int) { n = rawfd.Unsent(fd) })
	return n
}

// tellsAcknowledged says whether acknowledged can tell.
const tellsAcknowledged = true

// acknowledged is rawfd.Acknowledged of the socket under conn; true once that is closed.
func acknowledged(conn net.Conn) bool {
	done := true
	onSocket(conn, func(fd int) { done = rawfd.Acknowledged(fd) })
	return done
}

// Gone reports whether the TCP connection under conn is closed although it was not closed
// here, because the peer has reset it, say. It is false on other systems and for other
// connections, where that is not known.
func Gone(conn net.Conn) (gone bool) {
	onSocket(conn, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && info.State == unix.BPF_TCP_CLOSE
	})
	return gone
}

// discard is rawfd.Discard of the socket under conn.
func discard(conn net.Conn, limit int) (n int) {
	onSocket(conn, func(fd int) { n = rawfd.Discard(uintptr(fd), limit) })
	return n
}
