package handler

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"wireline/internal/netconn"
)

// raw reads and writes a stream's connection without waiting, which net.Conn
// cannot: a Write to a client that does not read must not hold up its caller,
// and a client that sends nothing needs no buffer. It works on the sockets
// whose bytes are the stream's own, so not under TLS.
type raw struct {
	s    *stream
	conn syscall.RawConn // nil where there is none

	// The arguments and results of the functions below, which are made once:
	// a new one for each call would be an allocation.
	onReadable, onWrite func(fd uintptr) bool

	readN   int
	readErr error

	out      [3][]byte
	writeN   int
	writeErr error
}

func (r *raw) init(s *stream) {
	var sc syscall.Conn
	switch conn := bare(s.conn).(type) {
	case *net.TCPConn:
		sc = conn
	case *net.UnixConn:
		sc = conn
	default:
		return
	}
	conn, err := sc.SyscallConn()
	if err != nil {
		return
	}
	r.s, r.conn = s, conn
	r.onReadable = r.readable
	r.onWrite = r.writable
}

func (r *raw) ok() bool { return r.conn != nil }

// read waits until there is something to read, and reads it into the stream's
// buffer. Like Read of net.Conn it obeys the read deadline.
func (r *raw) read() (int, error) {
	r.readN, r.readErr = 0, nil
	if err := r.conn.Read(r.onReadable); err != nil {
		return 0, err
	}
	return r.readN, r.readErr
}

// look reads what is there, whatever the read deadline is.
func (r *raw) look() (int, error) {
	r.readN, r.readErr = 0, nil
	if err := r.conn.Control(func(fd uintptr) { r.readable(fd) }); err != nil {
		return 0, err
	}
	return r.readN, r.readErr
}

// readable reads once. It reports false when there is nothing to read; the
// buffer is then given back, if nothing was in it.
func (r *raw) readable(fd uintptr) bool {
	in := r.s.client.buffer()
	space := in.Space()
	n, errno := netconn.RawRead(fd, space)
	switch {
	case errno == unix.EAGAIN:
		if !r.s.client.holds() {
			r.s.client.freeBuffer()
		}
		return false
	case errno != 0:
		r.readErr = os.NewSyscallError("read", errno)
	case n == 0:
		r.readErr = io.EOF
	default:
		in.Filled(n)
		r.readN = n
	}
	return true
}

// tryWrite writes what the socket takes of parts. It returns errWouldBlock when
// that is not all of it.
func (r *raw) tryWrite(parts [3][]byte) (int, error) {
	r.out, r.writeN, r.writeErr = parts, 0, nil
	err := r.conn.Write(r.onWrite)
	r.out = [3][]byte{}
	if err == nil {
		err = r.writeErr
	}
	return r.writeN, err
}

// writable always reports true: to wait is the caller's affair.
func (r *raw) writable(fd uintptr) bool {
	n, errno := netconn.RawWriteAll(fd, &r.out)
	r.writeN = n
	switch {
	case errno == unix.EAGAIN:
		r.writeErr = errWouldBlock
	case errno != 0:
		r.writeErr = os.NewSyscallError("write", errno)
	}
	return true
}
