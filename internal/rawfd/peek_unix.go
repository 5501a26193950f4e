//go:build unix

package rawfd

import "golang.org/x/sys/unix"

// Peek looks at what has arrived on a socket, without waiting and without taking
// anything: unix.EAGAIN if nothing has, zero bytes and no error at the end of the
// stream.
func Peek(fd int, p []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
