package tcp

import (
	"context"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lastCall closes the gap between the last look into the queue and the close:
// what the kernel completes in it would be reset. A filter that drops every
// segment keeps new handshakes out of a listener (socket(7), SO_ATTACH_FILTER;
// tcp_v4_rcv in Linux's net/ipv4/tcp_ipv4.c runs it); then the queue is emptied
// once more. A client whose SYN is dropped sends it again a second later, and is
// refused then, or accepted by the server's successor.
func (s *Server) lastCall(ctx context.Context, ln net.Listener) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil || !keepOut(raw) {
		return
	}
	for {
		conn, err := acceptNow(raw)
		if err != nil {
			return
		}
		s.start(ctx, conn)
	}
}

// keepOut attaches a filter that returns 0: no byte of any segment is kept.
func keepOut(raw syscall.RawConn) bool {
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	prog := unix.SockFprog{Len: 1, Filter: &drop}
	var err error
	if controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	}); controlErr != nil {
		return false
	}
	return err == nil
}

// acceptNow accepts without waiting.
func acceptNow(raw syscall.RawConn) (net.Conn, error) {
	var fd int
	var err error
	if controlErr := raw.Control(func(ln uintptr) {
		fd, _, err = unix.Accept4(int(ln), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	}); controlErr != nil {
		return nil, controlErr
	}
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "")
	defer file.Close() // FileConn has made a copy
	return net.FileConn(file)
}
