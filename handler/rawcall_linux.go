package handler

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawMax bounds one raw call, so that it does not keep its processor for long:
// the scheduler does not know of it.
const rawMax = 64 << 10

// rawRead is recv(2), which is a little cheaper on a socket than read(2).
func rawRead(fd uintptr, p []byte) (int, unix.Errno) { return rawCall(unix.SYS_RECVFROM, fd, p) }

func rawWrite(fd uintptr, p []byte) (int, unix.Errno) { return rawCall(unix.SYS_SENDTO, fd, p) }

// rawCall is recv(2) or send(2) on a non-blocking socket; p must not be empty.
func rawCall(trap, fd uintptr, p []byte) (int, unix.Errno) {
	p = p[:min(len(p), rawMax)]
	for {
		n, _, errno := unix.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}

// rawClose closes a socket. That does not block, unless it was told to linger.
func rawClose(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }
