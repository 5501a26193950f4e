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
	g := p.proxy().loops.Group()
	if g == nil {
		return false
	}
	fd, err := netconn.Dup(conn)
	for isOutOfDescriptors(err) && p.proxy().makeRoom() {
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
func (p *pair) addUpstream(g *eventloop.Group, fd int) error {
	s := &p.upstream
	if err := g.Add(&s.socket, fd, s, p.besideClient(p.target)); err != nil {
		return err
	}
	s.conn = &s.socket
	return nil
}

// besideClient is the place of a socket to u: the client's loop, if it is on one.
func (p *pair) besideClient(u *upstream) eventloop.Placement {
	where := eventloop.Placement{TCP: u.network == "tcp"}
	if p.client.onLoop() {
		where.Beside = &p.client.socket
	}
	return where
}

// takeConn makes a net.Conn of the upstream's socket, which was removed from its loop.
func (p *pair) takeConn() (net.Conn, error) { return netconn.Attach(p.upstream.socket.FD()) }
