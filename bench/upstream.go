//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// upstreamFD is the listener that the load process of a proxy inherits. The load itself is the
// proxy's upstream, on the same thread as its clients: another server would share the load's
// core, and be woken by the proxy, at the proxy's cost.
const upstreamFD = 3

// The values of an event's Pad. It is zero for a client's event.
const (
	ofListener = 1 + iota
	ofUpstream
)

// upstream echoes what the proxy sends.
type upstream struct {
	epoll int
	conns map[int32]bool
	buf   []byte // larger than all that a client has outstanding
}

func newUpstream(epoll int, buf []byte) (*upstream, error) {
	if err := watchUpstream(epoll); err != nil {
		return nil, err
	}
	return &upstream{epoll, make(map[int32]bool), buf}, nil
}

// watchUpstream adds the listener to the epoll.
func watchUpstream(epoll int) error {
	if err := unix.SetNonblock(upstreamFD, true); err != nil {
		return fmt.Errorf("listener of the upstream: %w", err)
	}
	// The connections that it accepts inherit this.
	if err := unix.SetsockoptInt(upstreamFD, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("listener of the upstream: %w", err)
	}
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, upstreamFD,
		&unix.EpollEvent{Events: unix.EPOLLIN, Fd: upstreamFD, Pad: ofListener})
}

// acceptUpstream returns the next connection of the proxy, or -1.
func acceptUpstream() (fd int, err error) {
	fd, _, err = unix.Accept4(upstreamFD, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err == unix.EAGAIN || err == unix.ECONNABORTED {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("accept: %w", err)
	}
	return fd, nil
}

func (u *upstream) handle(event unix.EpollEvent) error {
	if event.Pad == ofListener {
		return u.accept()
	}
	return u.echo(event.Fd)
}

func (u *upstream) accept() error {
	for {
		fd, err := acceptUpstream()
		if fd < 0 {
			return err
		}
		u.conns[int32(fd)] = true
		err = unix.EpollCtl(u.epoll, unix.EPOLL_CTL_ADD, fd,
			&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd), Pad: ofUpstream})
		if err != nil {
			return err
		}
	}
}

// echo reads once, as client.receive does. If a connection ends too early, the client at its
// other end notices that.
func (u *upstream) echo(fd int32) error {
	n, err := read(int(fd), u.buf)
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil || n == 0 {
		delete(u.conns, fd)
		return unix.Close(int(fd))
	}
	if sent, err := write(int(fd), u.buf[:n]); err == nil && sent < n {
		return fmt.Errorf("the upstream sent %d of %d bytes: the proxy does not read", sent, n)
	}
	return nil
}

func (u *upstream) close() {
	for fd := range u.conns {
		_ = unix.Close(int(fd))
	}
}
