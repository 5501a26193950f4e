package eventloop

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"wireline/internal/netconn"
	"wireline/internal/rawfd"
)

// kindOf returns the flags that the kind of a socket demands. Only of TCP it is known
// that a read which returns less than asked for has returned everything.
func kindOf(fd int) int32 {
	var domain int32
	size := uint32(unsafe.Sizeof(domain))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_DOMAIN,
		uintptr(unsafe.Pointer(&domain)), uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && (domain == unix.AF_INET || domain == unix.AF_INET6) {
		return 0
	}
	return pieces
}

// Read implements Conn. On a TCP socket, less than asked for is everything that has
// arrived. A read from a unix socket also stops where a file descriptor was passed
// (unix(7)), with more behind it.
func (s *Socket) Read(p []byte) (n int, drained bool, err error) {
	n, errno := rawfd.Read(uintptr(s.FD()), p)
	return readResult(p, n, errno, s.fd.Load()&pieces != 0)
}

// Look implements Conn.
func (s *Socket) Look(p []byte) (n int, drained bool, err error) { return s.Read(p) }

// Discard implements Conn.
func (s *Socket) Discard(limit int) (n int) {
	return discard(uintptr(s.FD()), limit, s.fd.Load()&pieces != 0)
}

// discard throws away up to limit bytes of what has arrived on a socket. Only TCP can do
// that without copying them: elsewhere MSG_TRUNC has another meaning (recv(2)).
func discard(fd uintptr, limit int, pieces bool) (n int) {
	if !pieces {
		return rawfd.Discard(fd, limit)
	}
	var waste [4096]byte
	for n < limit {
		m, errno := rawfd.Read(fd, waste[:min(limit-n, len(waste))])
		if errno != 0 || m == 0 {
			break
		}
		n += m
	}
	return n
}

// Write implements Conn.
func (s *Socket) Write(parts [3][]byte) (n int, err error) {
	return writeResult(rawfd.WriteAll(uintptr(s.FD()), &parts))
}

// CloseWrite implements Conn.
func (s *Socket) CloseWrite() error {
	return os.NewSyscallError("shutdown", unix.Shutdown(s.FD(), unix.SHUT_WR))
}

// Unsent implements Conn.
func (s *Socket) Unsent() int { return rawfd.Unsent(s.FD()) }

// Acknowledged implements Conn.
func (s *Socket) Acknowledged() bool { return rawfd.Acknowledged(s.FD()) }

// Err implements Conn.
func (s *Socket) Err() error {
	errno, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 {
		return nil
	}
	return os.NewSyscallError("read", unix.Errno(errno))
}

// LocalAddr implements Conn.
func (s *Socket) LocalAddr(known net.Addr) net.Addr { return netconn.LocalAddr(s.FD(), known) }

// SetLinger implements Conn.
func (s *Socket) SetLinger(seconds int) {
	linger := unix.Linger{Linger: int32(max(seconds, 0))}
	if seconds >= 0 {
		linger.Onoff = 1
	}
	unix.SetsockoptLinger(s.FD(), unix.SOL_SOCKET, unix.SO_LINGER, &linger)
}

// Reset implements Conn. Another goroutine may be using the file descriptor, so it must
// not be closed here: its number could go to another connection. Instead an unconnected
// socket takes its place, which the serving goroutine then closes. That socket fails
// every Read and Write, has nothing unsent and no address of its own. Where none can be
// had, the RST is sent by Close.
func (s *Socket) Reset() {
	s.SetLinger(0)
	if other, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err == nil {
		unix.Dup3(other, s.FD(), unix.O_CLOEXEC)
		rawfd.Close(other)
	}
	s.Wake()
}
