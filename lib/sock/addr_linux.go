package sock

import (
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// LocalAddr asks the system for the local end of a TCP socket; nil if fd is none.
func LocalAddr(fd int) net.Addr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port, Zone: Zone(sa.ZoneId)}
	}
	return nil
}

// Zone is the name of the interface with that index, as package net has it in the
// zone of a link-local address, or else the number; empty for zero.
func Zone(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(index))
}
