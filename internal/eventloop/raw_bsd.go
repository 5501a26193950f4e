//go:build unix && !linux && !aix

package eventloop

import (
	"math"

	"golang.org/x/sys/unix"

	"wireline/internal/rawfd"
)

// maxRecv is what a recv fills at most.
const maxRecv = math.MaxInt

// pollHup is zero: the end of the stream is input like any other, and Read tells.
const pollHup = 0

// pollNow is poll(2) on one file descriptor, without waiting.
func pollNow(fd uintptr, events int16) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		if _, err := unix.Poll(p, 0); err != unix.EINTR {
			return p[0].Revents
		}
	}
}

// recv is recv(2) without waiting.
func recv(fd uintptr, p []byte) (int, unix.Errno) {
	for {
		n, _, err := unix.Recvfrom(int(fd), p, unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return max(n, 0), errnoOf(err)
		}
	}
}

// send sends what the socket takes of parts, EAGAIN with the count where that is not
// all of it.
func send(fd uintptr, parts *[3][]byte) (n int, errno unix.Errno) {
	for i := 0; i < len(parts); {
		p := parts[i]
		if len(p) == 0 {
			i++
			continue
		}
		m, err := unix.SendmsgN(int(fd), p, nil, nil, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, errnoOf(err)
		default:
			n += m
			parts[i] = p[m:]
		}
	}
	return n, 0
}

// discard throws away up to limit bytes of what has arrived.
func discard(fd uintptr, limit int, _ bool) (n int) {
	var waste [4096]byte
	for n < limit {
		m, errno := recv(fd, waste[:min(limit-n, len(waste))])
		if errno != 0 || m == 0 {
			break
		}
		n += m
	}
	return n
}

// ended reports whether the stream on a socket of which all was read has ended, or may
// have: if there is input again, it is read anyway.
func ended(fd uintptr) bool {
	n, err := rawfd.Peek(int(fd), make([]byte, 1))
	return n == 0 && err == nil
}

func errnoOf(err error) unix.Errno {
	switch err := err.(type) {
	case nil:
		return 0
	case unix.Errno:
		return err
	}
	return unix.EIO
}
