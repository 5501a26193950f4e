package tcp

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"wireline/handler"
)

// optionNames are the names of the options for setsockopt(2); see tcp(7) and socket(7).
// Accepted sockets inherit the options of the listener: the kernel copies its socket
// (sk_clone_lock in net/core/sock.c).
var optionNames = map[sockopt]struct{ level, name int }{
	noDelay:       {unix.IPPROTO_TCP, unix.TCP_NODELAY},
	keepAlive:     {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	keepIdle:      {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	keepInterval:  {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	keepCount:     {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	userTimeout:   {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	reusePort:     {unix.SOL_SOCKET, unix.SO_REUSEPORT},
	fastOpen:      {unix.IPPROTO_TCP, unix.TCP_FASTOPEN},
	deferAccept:   {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
	receiveBuffer: {unix.SOL_SOCKET, unix.SO_RCVBUF},
	sendBuffer:    {unix.SOL_SOCKET, unix.SO_SNDBUF},
}

func supports(sockopt) bool { return true }

// inherited reports whether o is set on the listening socket, for itself or for the
// sockets that it accepts.
func inherited(sockopt) bool { return true }

// setOption sets an option. It also fails if the kernel takes the call and sets another
// value.
func setOption(fd uintptr, o sockopt, value int) error {
	if o == closeLinger {
		l := unix.Linger{Onoff: 1, Linger: int32(value)}
		return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &l))
	}
	n := optionNames[o]
	if err := unix.SetsockoptInt(int(fd), n.level, n.name, value); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	switch o {
	case fastOpen:
		if value == 0 {
			return nil
		}
		// Without this bit the option does nothing (Documentation/networking/
		// ip-sysctl.rst, tcp_fastopen).
		if bits, ok := sysctl("net/ipv4/tcp_fastopen"); ok && bits&2 == 0 {
			return fmt.Errorf("the system has it off for servers: net.ipv4.tcp_fastopen is %d, and needs 2 in it", bits)
		}
		return checkQueue(value)
	case receiveBuffer:
		return checkBuffer(fd, unix.SO_RCVBUF, value, "rmem_max")
	case sendBuffer:
		return checkBuffer(fd, unix.SO_SNDBUF, value, "wmem_max")
	}
	return nil
}

// checkBuffer checks that a buffer has the wanted size. The kernel doubles the size, for
// its own needs, and changes one beyond its maximum or minimum to that (socket(7),
// SO_RCVBUF).
func checkBuffer(fd uintptr, name, want int, limit string) error {
	got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, name)
	switch {
	case err != nil:
	case got/2 < want:
		return fmt.Errorf("the system allows %d bytes at most: net.core.%s", got/2, limit)
	case got/2 > want:
		return fmt.Errorf("the system gives %d bytes at least", got/2)
	}
	return os.NewSyscallError("getsockopt", err)
}

// checkQueue checks that the system allows queues of this length. It shortens longer ones
// (listen(2)).
func checkQueue(length int) error {
	if limit, ok := sysctl("net/core/somaxconn"); ok && length > limit {
		return fmt.Errorf("the system allows %d at most: net.core.somaxconn", limit)
	}
	return nil
}

// sysctl reads a setting of the system. It may not be visible, as in a container.
func sysctl(name string) (value int, ok bool) {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0, false
	}
	value, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return value, err == nil
}

// setBacklog changes the length of the queue of a socket that listens: package net always
// takes the system's. For that listen(2) can be called again (inet_listen in
// net/ipv4/af_inet.c). Zero is the system's maximum.
func setBacklog(fd uintptr, length int) error {
	if length == 0 {
		return os.NewSyscallError("listen", unix.Listen(int(fd), math.MaxInt32)) // listen(2) shortens it
	}
	if err := unix.Listen(int(fd), length); err != nil {
		return os.NewSyscallError("listen", err)
	}
	return checkQueue(length)
}

// asNet sets on a listener the options of o that package net would set on each connection;
// keep-alive only if the listener does not have it. It reports whether it has set keep-alive.
func asNet(fd int, o *Socket) (keepAliveToo bool) {
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	keepAliveToo = err != nil || on == 0
	setAsNet(fd, o, keepAliveToo)
	return keepAliveToo
}

// setAsNet is asNet for one socket. As in package net, errors are ignored.
func setAsNet(fd int, o *Socket, keepAliveToo bool) {
	c := Config{Socket: Socket{NoDelay: o.NoDelay, KeepAlive: o.KeepAlive}}
	for _, s := range c.options() {
		if s.option == noDelay || keepAliveToo {
			_ = setOption(uintptr(fd), s.option, s.value)
		}
	}
}

// modeOf returns the close mode that the connections of ln inherit from its SO_LINGER.
func modeOf(ln net.Listener) (mode handler.CloseMode, err error) {
	tcp := tcpListener(ln)
	if tcp == nil {
		return mode, errors.ErrUnsupported
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return mode, err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		var l *unix.Linger
		if l, err = unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 {
			mode = handler.CloseReset
			if l.Linger > 0 {
				mode = handler.CloseWithin(time.Duration(l.Linger) * time.Second)
			}
		}
	})
	return mode, errors.Join(err, ctlErr)
}
