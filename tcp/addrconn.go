package tcp

import (
	"net"

	"wireline/internal/netconn"
)

// addrs are the addresses that a PROXY header has named.
type addrs struct{ local, remote net.Addr }

// addrConn is a connection with such addresses. addrConn, addrTCPConn and addrUnixConn
// also have the methods of the connection underneath.
type addrConn struct {
	net.Conn
	addrs addrs
}

func (c addrConn) LocalAddr() net.Addr  { return c.addrs.local }
func (c addrConn) RemoteAddr() net.Addr { return c.addrs.remote }
func (c addrConn) NetConn() net.Conn    { return c.Conn }
func (c addrConn) CloseWrite() error    { return netconn.CloseWrite(c.Conn) }

// addrTCPConn and addrUnixConn have a method Socket beside: their bytes are those of the
// socket in them, so a handler may use it for splice(2), or to read without waiting. That of
// an unreadTCPConn returns nil.
type addrTCPConn struct {
	*net.TCPConn
	addrs addrs
}

func (c addrTCPConn) LocalAddr() net.Addr  { return c.addrs.local }
func (c addrTCPConn) RemoteAddr() net.Addr { return c.addrs.remote }
func (c addrTCPConn) NetConn() net.Conn    { return c.TCPConn }
func (c addrTCPConn) Socket() net.Conn     { return c.TCPConn }

type addrUnixConn struct {
	*net.UnixConn
	addrs addrs
}

func (c addrUnixConn) LocalAddr() net.Addr  { return c.addrs.local }
func (c addrUnixConn) RemoteAddr() net.Addr { return c.addrs.remote }
func (c addrUnixConn) NetConn() net.Conn    { return c.UnixConn }
func (c addrUnixConn) Socket() net.Conn     { return c.UnixConn }

// withAddrs returns conn with other addresses.
func withAddrs(conn net.Conn, a addrs) net.Conn {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return addrTCPConn{conn, a}
	case *unreadTCPConn:
		return &unreadTCPConn{addrTCPConn{conn.TCPConn, a}, conn.first}
	case *net.UnixConn:
		return addrUnixConn{conn, a}
	}
	return addrConn{conn, a}
}
