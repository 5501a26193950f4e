package tcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawListener accepts sockets from a listener without making a net.Conn of them. A
// net.Conn needs an entry in the descriptor table, a registration with the poller, and
// five socket options: a third of what a short connection costs.
type rawListener struct {
	ln        syscall.RawConn // the listener's own descriptor
	addr      net.Addr
	file      *os.File // a descriptor of its own: net.Listener has no method to wait
	raw       syscall.RawConn
	tcp       bool
	multipath bool // as isMultipath
	inherits  bool // accepted sockets have the listener's options
	keepAlive bool // if inherits is false: to be set on each socket

	begun bool // the options that accepted sockets are to inherit were set

	// Arguments and results of onReadable, which is made once.
	onReadable func(fd uintptr) bool
	fd         int
	errno      unix.Errno
	peer       unix.RawSockaddrAny
	peerLen    uint32
}

// plainListener returns ln if bare sockets can be accepted from it, or nil if it is more than
// a listener of package net or of Listen.
func plainListener(ln net.Listener) syscall.Conn {
	switch ln := ln.(type) {
	case *net.TCPListener:
		return ln
	case *tunedListener:
		return ln.TCPListener
	case *unixListener:
		return ln.UnixListener
	case *net.UnixListener:
		if ln.Addr().Network() == "unix" { // else of packets, not a stream
			return ln
		}
	}
	return nil
}

func isPlain(ln net.Listener) bool { return plainListener(ln) != nil }

// newRawListener returns nil if sockets cannot be accepted from ln without package net.
func newRawListener(ln net.Listener) *rawListener {
	sc := plainListener(ln)
	if sc == nil {
		return nil
	}
	file, err := dupFile(sc)
	if err != nil {
		return nil
	}
	l := &rawListener{addr: ln.Addr(), file: file}
	l.ln, _ = sc.SyscallConn() // it worked in dupFile
	if l.raw, err = file.SyscallConn(); err != nil {
		file.Close()
		return nil
	}
	l.tcp = tcpListener(ln) != nil
	l.onReadable = l.take
	if _, ok := ln.(*tunedListener); ok {
		l.inherits = true // from the first on
	}
	return l
}

// begin prepares the first accept. It is not for a listener with TLS, whose connections have the
// options of package net.
func (l *rawListener) begin(from *listener) {
	l.begun = true
	if l.inherits || !l.tcp {
		return
	}
	l.raw.Control(func(fd uintptr) {
		l.keepAlive = asNet(int(fd), from.asNet())
		l.multipath = isMultipath(int(fd))
	})
}

// asNet has the options that package net would set on each connection: those in force, if the server has
// opened the listener.
func (l *listener) asNet() *Socket {
	if l.opened == nil {
		return new(Socket)
	}
	return &l.terms().Socket
}

// isMultipath reports whether fd is a socket of multipath TCP. Go's listeners are, unless
// told otherwise; most of the sockets that they accept are not.
func isMultipath(fd int) bool {
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && proto == unix.IPPROTO_MPTCP
}

// accept waits for a connection, or for the listener's deadline.
func (l *rawListener) accept(from *listener) (*accepted, error) {
	if !l.begun {
		l.begin(from)
	}
	if err := l.raw.Read(l.onReadable); err != nil {
		return nil, err
	}
	if l.errno != 0 {
		return nil, l.opError(os.NewSyscallError("accept4", l.errno))
	}
	if l.ln.Control(func(uintptr) {}) != nil { // its maker has closed it, which ends Serve
		unix.Close(l.fd)
		return nil, l.opError(net.ErrClosed)
	}
	a := &accepted{from: from.terms(), fd: int32(l.fd)}
	l.notePeer(a)
	if l.tcp && (!l.inherits || l.multipath && isMultipath(l.fd)) {
		setAsNet(l.fd, from.asNet(), l.keepAlive)
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
			l.inherits = true // the sockets from before the options were set are gone
			return false
		case unix.EINTR, unix.ECONNABORTED: // it was reset before we took it
			continue
		}
		l.fd, l.errno = int(n), errno
		return true
	}
}

// notePeer notes the peer's address.
func (l *rawListener) notePeer(a *accepted) {
	switch l.peer.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&l.peer))
		a.ip, a.port = netip.AddrFrom4(sa.Addr).As16(), hostOrder(sa.Port)
		a.kind = hasIP
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&l.peer))
		a.ip, a.port = sa.Addr, hostOrder(sa.Port)
		a.kind, a.zone = hasIP, sa.Scope_id
	case unix.AF_UNIX:
		a.kind = overUnix
		sa := (*unix.RawSockaddrUnix)(unsafe.Pointer(&l.peer))
		if n := int(l.peerLen) - int(unsafe.Offsetof(sa.Path)); n > 0 {
			a.setMore(extra{told: &told{name: unixName(sa.Path[:min(n, len(sa.Path))])}})
		}
	}
}

// hostOrder is ntohs(3).
func hostOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:])
}

// unixName returns the name that a peer on a unix socket is bound to, as package net
// writes it. Few peers are bound to one.
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
