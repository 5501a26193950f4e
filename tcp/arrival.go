package tcp

import (
	"context"
	"net"
	"net/netip"
	"time"

	"wireline/internal/netconn"
)

// arrival is a connection that was just accepted: a net.Conn, or, where the
// handler takes those, a socket that has none yet.
type arrival struct {
	conn net.Conn

	// If conn is nil:
	fd   int
	peer netip.AddrPort // without its zone; not valid on unix sockets
	zone uint32         // number of the interface, of a link-local peer
	name string         // of a peer on a unix socket

	from   *rawListener // nil if it came as a net.Conn
	header header       // of the PROXY protocol, if there was one
}

// ip is the address that a client is counted by: the one that was announced, if one
// was; not valid on unix sockets.
func (a *arrival) ip() netip.Addr {
	if _, remote := a.header.addrs(); remote != nil {
		addr, _ := remote.(*net.TCPAddr)
		return addr.AddrPort().Addr().Unmap()
	}
	if a.conn == nil {
		return a.peer.Addr().Unmap()
	}
	if addr, ok := a.conn.RemoteAddr().(*net.TCPAddr); ok && addr != nil {
		return addr.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// isUnix reports whether the connection came over a unix socket.
func (a *arrival) isUnix() bool {
	if a.conn == nil {
		return !a.peer.IsValid()
	}
	_, ok := a.conn.RemoteAddr().(*net.UnixAddr)
	return ok
}

// who is the peer for the log.
func (a *arrival) who() string {
	if a.conn != nil {
		return peer(a.conn)
	}
	return a.ip().String()
}

// take takes the header off the connection.
func (a *arrival) take(h header) error {
	a.header = h
	return a.skip(h.size)
}

// reset turns the client away with a RST.
func (a *arrival) reset() {
	if a.makeConn() != nil {
		return // it is closed
	}
	netconn.Reset(a.conn)
}

// door is where the connections of one listener come in.
type door struct {
	ctx context.Context // of every connection
	ln  net.Listener
	raw *rawListener // nil where connections come as net.Conn

	// SO_LINGER, which ln does not pass on: seconds, if lingers is set.
	linger  int
	lingers bool
}

func (d *door) accept() (arrival, error) {
	if d.raw != nil {
		return d.raw.accept()
	}
	conn, err := d.ln.Accept()
	return arrival{conn: conn}, err
}

// setDeadline bounds accept, and reports whether it can.
func (d *door) setDeadline(t time.Time) bool {
	if d.raw != nil {
		return d.raw.file.SetDeadline(t) == nil
	}
	timed, ok := d.ln.(interface{ SetDeadline(time.Time) error })
	return ok && timed.SetDeadline(t) == nil
}

// interrupt makes an accept that waits return.
func (d *door) interrupt() {
	if !d.setDeadline(time.Unix(1, 0)) {
		d.ln.Close()
	}
}

func (d *door) close() {
	if d.raw != nil {
		d.raw.file.Close()
	}
	d.ln.Close()
}
