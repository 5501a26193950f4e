package rawfd

import "golang.org/x/sys/unix"

// Unsent is how many bytes of what was written to a socket its peer has not
// acknowledged yet (tcp(7) and unix(7), SIOCOUTQ); zero where that cannot be told.
func Unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// Acknowledged reports whether the peer has acknowledged what was written to a TCP socket,
// and the FIN if one was sent, or never will, as the connection is broken. For the FIN it
// looks at the state of the connection, which close(2) waits for where SO_LINGER has a time
// (sk_stream_wait_close in Linux's net/core/stream.c).
func Acknowledged(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return true
	}
	switch info.State {
	case unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_CLOSING, unix.BPF_TCP_LAST_ACK:
		return false
	case unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_CLOSE_WAIT: // the FIN is still to come
		return Unsent(fd) == 0
	}
	return true
}
