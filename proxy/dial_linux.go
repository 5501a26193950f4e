package proxy

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/internal/eventloop"
	"wireline/internal/rawfd"
)

// dialing is a connect for which an event loop waits. It needs no goroutine, and allocates
// less than package net. It is used for the first upstream that is tried, if that is given by
// its address, not by a name, and gets neither a PROXY header nor TLS.
type dialing struct {
	eventloop.Socket
	group  *eventloop.Group
	choice choice // for the pair
	to     *upstream
	began  int64 // by the loop's clock
	until  int64
}

// dial begins to connect p to an upstream. It reports false if an event loop cannot do
// that.
func (p *pair) dial(c choice, to *upstream) bool {
	s := c.settings
	if !to.literal.IsValid() || s.cfg.sendsProxy() || s.speaksTLS() {
		return false
	}
	g := s.proxy.loops.Group()
	if g == nil {
		return false
	}
	fd, err := beginConnect(to.literal, s.dialOptions)
	if err != nil {
		return false // package net tries again, and tells why
	}
	limit := s.cfg.connectTimeout()
	now := g.Now()
	d := &dialing{group: g, choice: c, to: to, began: now, until: eventloop.After(now, limit)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wire.phase != connecting || g.Add(&d.Socket, fd, d, p.besideClient(to)) != nil { // it was cut meanwhile
		unix.Close(fd)
		return false
	}
	if d.WatchOut(false) != nil {
		d.Close()
		return false
	}
	p.interrupt = d.Wake
	d.SetTimer(d.until)
	d.Start()
	return true
}

// Ready implements eventloop.Handler.
func (d *dialing) Ready(*eventloop.Worker, eventloop.Event) (more bool) {
	p := d.choice.pair
	err := connected(d.FD(), d.to.literal)
	p.mu.Lock()
	cut := p.wire.phase != connecting
	if err == unix.EALREADY && !cut {
		if d.Now() < d.until {
			p.mu.Unlock()
			return false
		}
		err = os.ErrDeadlineExceeded
	}
	p.interrupt = nil
	if cut {
		p.target = d.to
	}
	p.mu.Unlock()
	switch {
	case cut:
		d.Close()
		d.to.giveUp()
		p.refuse()
	case err != nil:
		d.Close()
		p.connect(func(ctx context.Context) (dialResult, error) { return d.next(ctx, err) })
	default:
		d.to.noteSuccess(d.choice.settings, time.Duration(d.Now()-d.began))
		d.Remove()
		p.attachSocket(d)
	}
	return false
}

// attachSocket is attach to what an event loop has connected to. The socket stays on that
// loop if the client is there too.
func (p *pair) attachSocket(d *dialing) {
	p.mu.Lock()
	ok := p.reach(d.to)
	if ok {
		if err := p.addUpstream(d.group, d.FD()); err != nil {
			ok = false
			p.wire.noteEnd(handler.ByServer, handler.ReasonIOError, err)
		}
	}
	if ok {
		p.start()
	} else {
		rawfd.Close(d.FD())
	}
	p.mu.Unlock()
	if !ok {
		p.refuse()
	}
}

// next tries the other upstreams, after err.
func (d *dialing) next(ctx context.Context, err error) (dialResult, error) {
	err = &net.OpError{Op: "dial", Net: d.to.network, Addr: net.TCPAddrFromAddrPort(d.to.literal), Err: err}
	d.to.noteFailure(d.choice.settings, err)
	return d.choice.tryNext(ctx, dialResult{upstream: d.to}, err)
}

// Writable implements eventloop.Handler.
func (d *dialing) Writable() { d.Wake() }

// Slow implements eventloop.Handler.
func (d *dialing) Slow() {}

// Expired implements eventloop.Handler.
func (d *dialing) Expired() { d.Wake() }

// beginConnect returns a socket with these options, whose connect has begun.
func beginConnect(to netip.AddrPort, options []dialOption) (fd int, err error) {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	for _, o := range options {
		if err = unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	if err = unix.Connect(fd, sockaddr(to)); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// dialOption is a socket option of a connection to an upstream.
type dialOption struct{ level, name, value int }

// dialOptions are those that Config.dialer sets.
func (c *Config) dialOptions() []dialOption {
	list := []dialOption{{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}}
	if k := c.KeepAlive.netKeepAlive(); k.Enable {
		list = append(list,
			dialOption{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			dialOption{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(k.Idle / time.Second)},
			dialOption{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(k.Interval / time.Second)},
			dialOption{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count})
	}
	if c.UserTimeout > 0 {
		list = append(list, dialOption{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds(c.UserTimeout)})
	}
	return list
}

// connected returns EALREADY while the connect is under way, nil when it has succeeded. It
// asks with a second connect(2), as the event may be that of an earlier file with the same
// number.
func connected(fd int, to netip.AddrPort) error {
	switch err := unix.Connect(fd, sockaddr(to)); err {
	case nil, unix.EISCONN:
		if local, err := unix.Getsockname(fd); err == nil && addrPort(local) == to {
			// Nobody listens, and the kernel has chosen the upstream's port for this
			// socket, which is now connected to itself. net.Dialer checks for that
			// too.
			return os.NewSyscallError("connect", unix.ECONNREFUSED)
		}
		return nil
	case unix.EALREADY, unix.EINTR:
		return unix.EALREADY
	default:
		return os.NewSyscallError("connect", err)
	}
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
