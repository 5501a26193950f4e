package eventloop

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"wireline/internal/rawfd"
)

// maxRecv is what a recv fills at most.
const maxRecv = rawfd.Max

// pollHup is what poll(2) calls the end of the stream.
const pollHup = unix.POLLRDHUP

// pollNow is poll(2) on one file descriptor, without waiting, and past the scheduler.
func pollNow(fd uintptr, events int16) int16 {
	p := unix.PollFd{Fd: int32(fd), Events: events}
	var zero unix.Timespec
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&zero)), 0, 0, 0)
		if errno != unix.EINTR {
			return p.Revents
		}
	}
}

func recv(fd uintptr, p []byte) (int, unix.Errno) { return rawfd.Read(fd, p) }

func send(fd uintptr, parts *[3][]byte) (int, unix.Errno) { return rawfd.WriteAll(fd, parts) }

// ended reports whether the stream on a socket of which all was read has ended.
func ended(fd uintptr) bool { return inputOf(fd)&Hup != 0 }
