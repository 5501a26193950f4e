package netconn

import (
	"net"

	"golang.org/x/sys/unix"
)

// LocalAddr is the local end of a socket that a listener at addr has accepted. Where
// that says it, the system is not asked; a listener may be on all hosts.
func LocalAddr(fd int, addr net.Addr) net.Addr {
	if tcp, ok := addr.(*net.TCPAddr); !ok || !tcp.IP.IsUnspecified() {
		return addr
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return addr
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port, Zone: Zone(sa.ZoneId)}
	}
	return addr
}
