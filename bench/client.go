//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lineSize is the length of every line, its end included.
const lineSize = 64

// client is one connection of the load. It sends a burst, waits until that is
// back, and sends the next. Two bursts take turns, so that a reply that belongs
// to the burst before is seen as wrong.
type client struct {
	id     int
	fd     int
	once   bool // it sends one burst and no more
	bursts [2][]byte
	turn   int
	sent   int // of the current burst
	got    int // of its reply
	since  time.Duration
}

var errClosed = errors.New("the server closed a connection")

func connect(address netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// SO_SNDTIMEO bounds connect(2). To linger for no time is to reset: it
	// keeps no port in TIME_WAIT, of which thousands of clients would run out.
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 5}),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
	)
	if err == nil {
		err = unix.Connect(fd, socketAddress(address))
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sourceAddresses is how many loopback addresses the connections of a churn come from.
const sourceAddresses = 64

// beginConnect starts a connection. If it ends with a FIN, its port stays in
// TIME_WAIT for a minute: with several addresses of their own, more connections
// can do so than one address has ports. IP_BIND_ADDRESS_NO_PORT leaves the
// choice of the port to connect(2), which knows the destination.
func beginConnect(address netip.AddrPort, number int, reset bool) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if reset {
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	} else {
		err = bindSource(fd, number)
	}
	if err == nil {
		err = unix.Connect(fd, socketAddress(address))
	}
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindSource(fd, number int) error {
	from := unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + number%sourceAddresses)}}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &from),
	)
}

func socketAddress(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// lineBurst makes lines that name their client, turn and place, so that a line
// which arrives at a wrong one differs.
func lineBurst(id, turn, depth int) []byte {
	var b bytes.Buffer
	for i := range depth {
		head := fmt.Sprintf("client %d turn %d line %d ", id, turn, i)
		b.WriteString(head + strings.Repeat("x", lineSize-1-len(head)) + "\n")
	}
	return b.Bytes()
}

// frameBurst makes a frame of size bytes, whose every 64 bytes differ.
func frameBurst(id, turn, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	b = append(b, lineBurst(id, turn, size/lineSize+1)...)
	return b[: headSize+size : headSize+size]
}

// send writes what is left of the burst, as far as the socket takes it.
func (c *client) send() error {
	for rest := c.bursts[c.turn][c.sent:]; len(rest) > 0; rest = c.bursts[c.turn][c.sent:] {
		n, err := write(c.fd, rest)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		c.sent += n
	}
	return nil
}

// receive reads once and compares with what was sent. It reports whether the
// whole reply is there. The buffer is larger than any reply, so what one read
// leaves behind arrives later and makes an event of its own.
func (c *client) receive(buf []byte) (whole bool, err error) {
	n, err := read(c.fd, buf)
	if err == unix.EAGAIN {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return false, errClosed
	}
	want := c.bursts[c.turn][c.got:c.sent]
	if n > len(want) || !bytes.Equal(buf[:n], want[:n]) {
		return false, fmt.Errorf("wrong echo: got %q, want %q", buf[:min(n, 2*lineSize)], want[:min(len(want), 2*lineSize)])
	}
	c.got += n
	return c.answered(), nil
}

// answered tells whether the reply to the current burst is there.
func (c *client) answered() bool { return c.got == len(c.bursts[c.turn]) }

// next makes the other burst the current one.
func (c *client) next() {
	c.turn, c.sent, c.got = 1-c.turn, 0, 0
}

// read and write are the bare system calls: on a socket that does not block
// the Go scheduler need not hear of them.
func read(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return result(n, errno)
}

func write(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return result(n, errno)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
