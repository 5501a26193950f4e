package netconn

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ownOptions are those that package net sets on every TCP connection that it makes.
var ownOptions = [...]struct{ level, name int }{
	{unix.IPPROTO_TCP, unix.TCP_NODELAY},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
}

// FileConn is net.FileConn for a connected socket, but it keeps the socket's options.
func FileConn(file *os.File) (net.Conn, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var was [len(ownOptions)]int
	var known [len(ownOptions)]bool
	raw.Control(func(fd uintptr) {
		for i, o := range ownOptions {
			v, err := unix.GetsockoptInt(int(fd), o.level, o.name)
			was[i], known[i] = v, err == nil
		}
	})
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	onSocket(conn, func(fd int) {
		for i, o := range ownOptions {
			if v, err := unix.GetsockoptInt(fd, o.level, o.name); err == nil && known[i] && v != was[i] {
				unix.SetsockoptInt(fd, o.level, o.name, was[i])
			}
		}
	})
	return conn, nil
}
