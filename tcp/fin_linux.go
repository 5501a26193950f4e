package tcp

import "golang.org/x/sys/unix"

// finSeen reports whether the peer's FIN has arrived on a socket, also behind bytes that
// were not read yet: those hide it from a peek.
func finSeen(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
