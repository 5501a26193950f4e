package proxy

import (
	"net"

	"wireline/internal/eventloop"
	"wireline/internal/netconn"
	"wireline/internal/rawfd"
)

// useLoop puts the socket of conn on an event loop, the client's if it is on one, and closes
// conn. It reports false, and leaves conn as it is, where that cannot be done. Connections
// that wait in a pool are closed to make room for the descriptor.
func (p *pair) useLoop(conn net.Conn) bool {
	g := p.proxy.loops.Group()
	if g == nil {
		return false
	}
	fd, err := netconn.Dup(conn)
	for isOutOfDescriptors(err) && p.proxy.makeRoom() {
		fd, err = netconn.Dup(conn)
	}
	if err != nil {
		return false
	}
	if err = p.addUpstream(g, fd); err != nil {
		rawfd.Close(fd)
		return false
	}
	conn.Close()
	return true
}

// addUpstream puts fd on an event loop.
func (p *pair) addUpstream(g *eventloop.Group, fd int) (err error) {
	s := &p.upstream
	if p.client.onLoop() {
		err = g.AddBeside(&p.client.socket, &s.socket, fd, s)
	} else {
		err = g.Add(&s.socket, fd, s)
	}
	if err == nil {
		s.conn = &s.socket
	}
	return err
}

// takeConn makes a net.Conn of the upstream's socket, which was removed from its loop.
func (p *pair) takeConn() (net.Conn, error) { return netconn.Attach(p.upstream.socket.FD()) }
