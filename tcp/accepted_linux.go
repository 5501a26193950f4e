package tcp

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"wireline/internal/netconn"
	"wireline/internal/rawfd"
)

// Socket implements handler.Accepted.
func (a *accepted) Socket() (fd int, ok bool) {
	if a.TLS() != nil {
		return -1, false
	}
	return a.takeSocket()
}

// takeSocket is Socket, also under TLS.
func (a *accepted) takeSocket() (fd int, ok bool) {
	if a.fd < 0 || a.kind&taken != 0 {
		return -1, false
	}
	a.kind |= taken
	return int(a.fd), true
}

// makeConn makes a net.Conn of the bare socket.
func (a *accepted) makeConn() error {
	if a.fd < 0 {
		return net.ErrClosed
	}
	if a.kind&taken != 0 { // the descriptor is the handler's
		conn, err := netconn.Copy(int(a.fd))
		if err == nil {
			a.setConn(conn)
		}
		return err
	}
	conn, err := netconn.Attach(int(a.fd))
	a.fd = -1 // it is conn's, or closed
	if err != nil {
		a.from.server.log().Warn("connection lost", "peer", a.peer(), "err", err)
		return err
	}
	a.setConn(conn)
	return nil
}

// detach makes a net.Conn of package net a bare socket. If it fails, nothing has changed.
func (a *accepted) detach() error {
	e := a.more()
	fd, err := netconn.Dup(e.conn)
	if err != nil {
		return err
	}
	if addr, ok := e.conn.RemoteAddr().(*net.TCPAddr); ok && addr.Zone != "" {
		a.zone = zoneOf(fd)
	}
	e.conn.Close() // its descriptor is another one
	e.conn = nil
	a.fd = int32(fd)
	a.setMore(e)
	return nil
}

// zoneOf returns the number of the interface of a link-local peer.
func zoneOf(fd int) uint32 {
	peer, _ := unix.Getpeername(fd)
	if peer, ok := peer.(*unix.SockaddrInet6); ok {
		return peer.ZoneId
	}
	return 0
}

// skip takes n bytes that have arrived.
func (a *accepted) skip(n int) error {
	b := make([]byte, n)
	if conn := a.more().conn; conn != nil {
		_, err := io.ReadFull(conn, b)
		return err
	}
	for n > 0 {
		m, errno := rawfd.Read(uintptr(a.fd), b[:n])
		if errno != 0 || m == 0 {
			return os.NewSyscallError("read", errno)
		}
		n -= m
	}
	return nil
}

// setLinger sets SO_LINGER, which unix sockets do not have: seconds, or -1 for off.
func (a *accepted) setLinger(seconds int) {
	conn := a.more().conn
	switch {
	case conn != nil:
		netconn.SetLinger(conn, seconds)
	case a.kind&overUnix == 0:
		unix.SetsockoptLinger(int(a.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: int32(flag(seconds >= 0)), Linger: int32(max(seconds, 0))})
	}
}

// reset closes the connection with a RST.
func (a *accepted) reset() {
	if conn := a.current(); conn != nil {
		netconn.Reset(conn)
		return
	}
	a.setLinger(0)
	a.closeSocket()
}

// close closes the connection, also a socket that the handler has taken.
func (a *accepted) close() {
	if a.more().conn != nil { // otherwise there is nothing beneath TLS
		a.current().Close()
	}
	a.closeSocket()
}

// closeSocket closes the bare socket, if there is one.
func (a *accepted) closeSocket() {
	if a.fd >= 0 {
		rawfd.Close(int(a.fd))
		a.fd = -1
	}
}
