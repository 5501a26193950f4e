package rawfd

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions below are for non-blocking sockets. They bypass the scheduler
// (RawSyscall): the sockets never block, and telling the scheduler costs a tenth of
// a small read. Interrupted calls are repeated.

// Max is the most that one raw call moves, in bytes. The scheduler does not know of the
// call, so it must not take long.
const Max = 256 << 10

// Read is recv(2), which is a little cheaper on a socket than read(2). p must not
// be empty, and no more than Max bytes of it are filled.
func Read(fd uintptr, p []byte) (int, unix.Errno) { return call(unix.SYS_RECVFROM, fd, p) }

// Write is send(2) of up to Max bytes of p, which must not be empty. A peer
// that is gone is EPIPE and no signal.
func Write(fd uintptr, p []byte) (int, unix.Errno) { return call(unix.SYS_SENDTO, fd, p) }

// WriteAll writes parts, one after the other, as far as the socket takes them. If that
// is not everything, it returns EAGAIN with the count.
func WriteAll(fd uintptr, parts *[3][]byte) (n int, errno unix.Errno) {
	if len(parts[1])+len(parts[2]) == 0 {
		for p := parts[0]; n < len(p); {
			m, errno := Write(fd, p[n:])
			if errno != 0 {
				return n, errno
			}
			n += m
		}
		return n, 0
	}
	var vector [3]unix.Iovec
	for skip, size := 0, total(parts); n < size; skip = n {
		used := vector[:0]
		room := Max
		for _, p := range parts {
			if skip >= len(p) {
				skip -= len(p)
				continue
			}
			p = p[skip:min(len(p), skip+room)]
			skip, room = 0, room-len(p)
			if len(p) > 0 {
				v := unix.Iovec{Base: unsafe.SliceData(p)}
				v.SetLen(len(p))
				used = append(used, v)
			}
		}
		m, errno := sendmsg(fd, used)
		if errno != 0 {
			return n, errno
		}
		n += m
	}
	return n, 0
}

func total(parts *[3][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// sendmsg is sendmsg(2) on a non-blocking socket.
func sendmsg(fd uintptr, v []unix.Iovec) (int, unix.Errno) {
	msg := unix.Msghdr{Iov: unsafe.SliceData(v)}
	msg.SetIovlen(len(v))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// call is recv(2) or send(2) on a non-blocking socket; p must not be empty.
func call(trap, fd uintptr, p []byte) (int, unix.Errno) {
	p = p[:min(len(p), Max)]
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

// Discard throws away up to limit bytes of what has arrived on a TCP socket, without
// copying them (tcp(7), MSG_TRUNC), and returns how many that was.
func Discard(fd uintptr, limit int) (n int) {
	for n < limit {
		m, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, 0, uintptr(min(limit-n, Max)), unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0 || m == 0: // nothing more is there, or comes
			return n
		}
		n += int(m)
	}
	return n
}

// Close closes a socket. That does not block, unless SO_LINGER has a time.
func Close(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }
