package tcp

import (
	"net"

	"golang.org/x/sys/unix"
)

// noSYN is a classic BPF program for a TCP socket, whose packets begin with the
// TCP header: drop those with the SYN flag (RFC 9293, 3.1), keep the others.
var noSYN = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13}, // the flags
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: 2},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

// blockSYN makes the kernel drop the SYNs for a TCP listener, between the last look into
// its queue and its close: a connection that the kernel completes in between would be
// reset. A client whose SYN is dropped sends it again a second later, and is refused then,
// or accepted by the server's successor.
//
// unblock removes the filter (socket(7), SO_ATTACH_FILTER): the socket may be shared with
// another process, and outlive our close. It is nil if there is no filter.
func blockSYN(ln net.Listener) (unblock func()) {
	tcp := tcpListener(ln)
	if tcp == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var attachErr error
	if err := raw.Control(func(fd uintptr) {
		prog := unix.SockFprog{Len: uint16(len(noSYN)), Filter: &noSYN[0]}
		attachErr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	}); err != nil || attachErr != nil {
		return nil
	}
	return func() {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		})
	}
}
