//go:build unix

package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"wireline/internal/rawfd"
)

// peeks holds buffers for peekAt.
var peeks = sync.Pool{New: func() any { return new([fixedSize + maxRest]byte) }}

// peekAt looks for a header in the bytes that have arrived on a socket.
func peekAt(fd int) (header, error) {
	b := peeks.Get().(*[fixedSize + maxRest]byte)
	defer peeks.Put(b)
	n, err := rawfd.Peek(fd, b[:])
	switch {
	case err == unix.EAGAIN:
		return header{}, io.ErrUnexpectedEOF
	case err != nil:
		return header{}, err
	case n == 0:
		return header{}, errNothing
	}
	h, err := parseHeader(b[:n])
	if errors.Is(err, io.ErrUnexpectedEOF) && finSeen(fd) {
		err = atEnd(err)
	}
	return h, err
}

// peekable returns the socket of a connection whose bytes are the socket's own, so not
// one under TLS; nil if there is none.
func peekable(conn net.Conn) syscall.RawConn {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		raw, _ := conn.(syscall.Conn).SyscallConn()
		return raw
	}
	return nil
}

// peek looks for a header in the bytes that have arrived. The error is
// io.ErrUnexpectedEOF if there are too few to tell.
func (a *accepted) peek() (h header, err error) {
	conn := a.more().conn
	if conn == nil {
		return peekAt(int(a.fd))
	}
	raw := peekable(conn)
	if raw == nil {
		return header{}, io.ErrUnexpectedEOF
	}
	if ctlErr := raw.Control(func(fd uintptr) { h, err = peekAt(int(fd)) }); ctlErr != nil {
		return header{}, ctlErr
	}
	return h, err
}

// await waits for a header, until the connection's read deadline.
func (a *accepted) await() (h header, err error) {
	raw := peekable(a.more().conn)
	if raw == nil {
		return a.readAhead()
	}
	waitErr := raw.Read(func(fd uintptr) bool {
		h, err = peekAt(int(fd))
		return !errors.Is(err, io.ErrUnexpectedEOF)
	})
	switch {
	case waitErr == nil:
		return h, err
	case err == errBegun && errors.Is(waitErr, os.ErrDeadlineExceeded):
		return header{}, errCutShort
	}
	return header{}, waitErr
}
