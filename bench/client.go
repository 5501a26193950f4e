//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lineSize is the length of every line, including its end.
const lineSize = 64

// client is one connection of the load. It sends a burst, waits for the reply, and sends the
// next. Two bursts alternate, so that a reply to the burst before is recognized as wrong.
type client struct {
	id     int
	fd     int
	once   bool // it sends only one burst
	bursts [2][]byte
	turn   int
	sent   int // of the current burst
	got    int // of its reply
	since  time.Duration
	secure *secure // nil without TLS
}

var errClosed = errors.New("the server closed a connection")

func connect(address netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// SO_SNDTIMEO bounds connect(2). SO_LINGER with zero makes close(2) reset the connection:
	// its port does not stay in TIME_WAIT, and thousands of clients do not run out of ports.
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

// beginConnect starts a connection. If it ends with a FIN, its port stays in TIME_WAIT for a
// minute; with several source addresses there are more ports than one address has.
// IP_BIND_ADDRESS_NO_PORT leaves the choice of the port to connect(2), which knows the
// destination.
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

// sourceOf is the address from which client number comes.
func sourceOf(number int) net.IP {
	return net.IPv4(127, 0, 1, byte(1+number%sourceAddresses)).To4()
}

func bindSource(fd, number int) error {
	from := unix.SockaddrInet4{Addr: [4]byte(sourceOf(number))}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &from),
	)
}

func socketAddress(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// lineBurst makes lines with the number of their client, burst and position, so that a line
// that arrives in the wrong place is recognized.
func lineBurst(id, turn, depth int) []byte {
	var b bytes.Buffer
	for i := range depth {
		head := fmt.Sprintf("client %d turn %d line %d ", id, turn, i)
		b.WriteString(head + strings.Repeat("x", lineSize-1-len(head)) + "\n")
	}
	return b.Bytes()
}

// frameBurst makes a frame of size bytes. No two of its blocks of 64 bytes are equal.
func frameBurst(id, turn, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	b = append(b, lineBurst(id, turn, size/lineSize+1)...)
	return b[: headSize+size : headSize+size]
}

// unsent reports whether a part of the burst has not been sent.
func (c *client) unsent() bool {
	return c.sent < len(c.bursts[c.turn]) || c.secure != nil && c.secure.unsent()
}

// send writes the rest of the burst, as far as the socket takes it.
func (c *client) send() error {
	if c.secure != nil {
		return c.sendSecure()
	}
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

// sendSecure encrypts the whole burst at once, and writes as much as the socket takes.
func (c *client) sendSecure() error {
	if rest := c.bursts[c.turn][c.sent:]; len(rest) > 0 {
		if err := c.secure.encrypt(rest); err != nil {
			return err
		}
		c.sent += len(rest)
	}
	if err := c.secure.flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// receive reads once and compares with what was sent. It reports whether the whole reply has
// arrived. The buffer is larger than any reply, so whatever one read leaves arrives later,
// with an event of its own. Over TLS one read returns one record, and those that came with it
// have no further event: so it reads until the reply is whole or nothing is left.
func (c *client) receive(buf []byte) (whole bool, err error) {
	for {
		n, err := c.read(buf)
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
		if c.answered() || c.secure == nil {
			return c.answered(), nil
		}
	}
}

func (c *client) read(buf []byte) (int, error) {
	if c.secure != nil {
		return c.secure.read(buf)
	}
	return read(c.fd, buf)
}

// answered reports whether the reply to the current burst is complete.
func (c *client) answered() bool { return c.got == len(c.bursts[c.turn]) }

// next makes the other burst the current one.
func (c *client) next() {
	c.turn, c.sent, c.got = 1-c.turn, 0, 0
}

// read and write are bare system calls: the Go scheduler does not have to know about calls on
// a nonblocking socket.
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
