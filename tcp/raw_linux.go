package tcp

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/netconn"
)

// rawListener accepts sockets from a listener without making a net.Conn of them:
// its descriptor table entry, poller registration and five socket options are a
// third of what a short connection costs.
type rawListener struct {
	server    *Server
	ln        syscall.RawConn // the listener's own descriptor
	addr      net.Addr
	file      *os.File // a descriptor of its own: a net.Listener gives no way to wait
	raw       syscall.RawConn
	tcp       bool
	multipath bool // as isMultipath
	inherits  bool // what is accepted has the listener's options
	keepAlive bool // it is ours to set; where inherits is not set yet

	// Arguments and results of onReadable, which is made once.
	onReadable func(fd uintptr) bool
	fd         int
	errno      unix.Errno
	peer       unix.RawSockaddrAny
	peerLen    uint32
}

// newRawListener returns nil where the handler does not take sockets, or the
// listener is more than a plain one.
func newRawListener(s *Server, ln net.Listener) *rawListener {
	if _, ok := s.handler().(handler.SocketRegistrar); !ok || s.tls != nil {
		return nil
	}
	var sc syscall.Conn
	switch ln := ln.(type) {
	case *net.TCPListener:
		sc = ln
	case *listener:
		sc = ln.TCPListener
	case *net.UnixListener:
		if ln.Addr().Network() != "unix" {
			return nil // of packets, not a stream
		}
		sc = ln
	default:
		return nil
	}
	file, err := dupFile(sc)
	if err != nil {
		return nil
	}
	l := &rawListener{server: s, addr: ln.Addr(), file: file}
	l.ln, _ = sc.SyscallConn() // dupFile has used it
	if l.raw, err = file.SyscallConn(); err != nil {
		file.Close()
		return nil
	}
	l.tcp = tcpListener(ln) != nil
	l.onReadable = l.take
	if _, ok := ln.(*listener); ok {
		l.inherits = true // from the first on
	} else if l.tcp {
		l.raw.Control(func(fd uintptr) {
			l.keepAlive = asNet(int(fd))
			l.multipath = isMultipath(int(fd))
		})
	}
	return l
}

// dupFile returns a file of a descriptor's own on what sc has.
func dupFile(sc syscall.Conn) (*os.File, error) {
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	dup, dupErr := -1, error(nil)
	err = raw.Control(func(fd uintptr) { dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), "listener"), nil
}

// isMultipath reports whether fd is a socket of multipath TCP: Go's listeners are,
// unless told otherwise, and most of what they accept is not.
func isMultipath(fd int) bool {
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && proto == unix.IPPROTO_MPTCP
}

// accept waits for a connection, or for the listener's deadline.
func (l *rawListener) accept() (arrival, error) {
	if err := l.raw.Read(l.onReadable); err != nil {
		return arrival{}, err
	}
	if l.errno != 0 {
		return arrival{}, l.opError(os.NewSyscallError("accept4", l.errno))
	}
	if l.ln.Control(func(uintptr) {}) != nil {
		unix.Close(l.fd)
		return arrival{}, l.opError(net.ErrClosed) // by its maker, which ends Serve
	}
	a := arrival{fd: l.fd, from: l}
	l.notePeer(&a)
	if l.tcp && (!l.inherits || l.multipath && isMultipath(l.fd)) {
		setAsNet(l.fd, l.keepAlive)
	}
	return a, nil
}

func (l *rawListener) opError(err error) error {
	return &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: err}
}

// take accepts one connection. It reports false when none is there.
func (l *rawListener) take(fd uintptr) bool {
	for {
		l.peerLen = unix.SizeofSockaddrAny
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, fd, uintptr(unsafe.Pointer(&l.peer)),
			uintptr(unsafe.Pointer(&l.peerLen)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case unix.EAGAIN:
			l.inherits = true // those that had come before the options are gone
			return false
		case unix.EINTR, unix.ECONNABORTED: // it was reset before we took it
			continue
		}
		l.fd, l.errno = int(n), errno
		return true
	}
}

// notePeer puts down who the peer is.
func (l *rawListener) notePeer(a *arrival) {
	switch l.peer.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&l.peer))
		a.peer = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), hostOrder(sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&l.peer))
		a.peer = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), hostOrder(sa.Port))
		a.zone = sa.Scope_id
	case unix.AF_UNIX:
		sa := (*unix.RawSockaddrUnix)(unsafe.Pointer(&l.peer))
		if n := int(l.peerLen) - int(unsafe.Offsetof(sa.Path)); n > 0 {
			a.name = unixName(sa.Path[:min(n, len(sa.Path))])
		}
	}
}

// hostOrder is ntohs(3).
func hostOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:])
}

// unixName is the name that a peer on a unix socket is bound to, as package net
// has it: few are.
func unixName(path []int8) string {
	name := make([]byte, 0, len(path))
	for i, c := range path {
		if c == 0 && i > 0 {
			break
		}
		name = append(name, byte(c))
	}
	if name[0] == 0 {
		name[0] = '@' // an abstract one
	}
	return string(name)
}

// offer offers a socket to the handler, and reports whether it took it.
func (s *Server) offer(d *door, a *arrival) bool {
	h := s.handler().(handler.SocketRegistrar)
	return h.RegisterSocket(a.header.with(d.ctx), a.fd, newSession(a))
}

// setLinger sets SO_LINGER, which unix sockets do not have.
func (a *arrival) setLinger(seconds int) {
	switch {
	case a.conn != nil:
		netconn.SetLinger(a.conn, seconds)
	case !a.isUnix():
		unix.SetsockoptLinger(a.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(seconds)})
	}
}

// makeConn makes a net.Conn of the socket, if it is none yet.
func (a *arrival) makeConn() (err error) {
	switch {
	case a.conn != nil:
		return nil
	case a.fd < 0:
		return net.ErrClosed
	}
	a.conn, err = netconn.Attach(a.fd)
	a.fd = -1 // it is a.conn's, or closed
	return err
}

// unmakeConn undoes makeConn for an arrival that came as a socket.
func (a *arrival) unmakeConn() (err error) {
	if a.from != nil {
		a.fd, err = netconn.Detach(a.conn)
		a.conn = nil
	}
	return err
}

// skip takes n bytes that have arrived.
func (a *arrival) skip(n int) error {
	b := make([]byte, n)
	if a.conn != nil {
		_, err := io.ReadFull(a.conn, b)
		return err
	}
	for n > 0 {
		m, errno := netconn.RawRead(uintptr(a.fd), b[:n])
		if errno != 0 || m == 0 {
			return os.NewSyscallError("read", errno)
		}
		n -= m
	}
	return nil
}

// rawSession is a socket that the handler has. Its peer's address takes half of
// what a netip.AddrPort does: an idle connection has little else.
type rawSession struct {
	from *rawListener
	ip   [16]byte
	zone uint32
	port uint16
	tcp  bool
}

// namedSession is one whose peer, on a unix socket, has a name.
type namedSession struct {
	rawSession
	name string
}

// RemoteAddr implements handler.Session.
func (n *namedSession) RemoteAddr() net.Addr { return &net.UnixAddr{Name: n.name, Net: "unix"} }

// announcedSession is one whose two ends were announced.
type announcedSession struct {
	rawSession
	ends ends
}

// LocalAddr implements handler.Session.
func (s *announcedSession) LocalAddr() net.Addr { return s.ends.local }

// RemoteAddr implements handler.Session.
func (s *announcedSession) RemoteAddr() net.Addr { return s.ends.remote }

// Wrap implements handler.Wrapper.
func (s *announcedSession) Wrap(conn net.Conn) net.Conn { return s.ends.announce(conn) }

func newSession(a *arrival) handler.Session {
	if local, remote := a.header.addrs(); remote != nil {
		ip := a.ip()
		s := &announcedSession{rawSession{from: a.from, tcp: ip.IsValid()}, ends{local, remote}}
		if s.tcp {
			s.ip = ip.As16()
		}
		return s
	}
	r := rawSession{from: a.from, port: a.peer.Port(), zone: a.zone, tcp: a.peer.IsValid()}
	if a.name != "" {
		return &namedSession{r, a.name}
	}
	if r.tcp {
		r.ip = a.peer.Addr().As16()
	}
	return &r
}

// addr is the peer's address without its zone.
func (r *rawSession) addr() netip.Addr {
	if !r.tcp {
		return netip.Addr{}
	}
	return netip.AddrFrom16(r.ip).Unmap()
}

// LocalAddr implements handler.Session.
func (r *rawSession) LocalAddr() net.Addr { return r.from.addr }

// RemoteAddr implements handler.Session.
func (r *rawSession) RemoteAddr() net.Addr {
	if !r.tcp {
		return &net.UnixAddr{Net: "unix"}
	}
	addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.addr(), r.port))
	addr.Zone = netconn.Zone(r.zone)
	return addr
}

// Panicked implements handler.Session.
func (r *rawSession) Panicked(v any) { r.from.server.reportPanic(r.RemoteAddr().String(), v) }

// Done implements handler.Session.
func (r *rawSession) Done() {
	s := r.from.server
	s.admission.leave(r.addr())
	s.serving.Done()
}
