package tcp

import (
	"errors"
	"io"
	"net"
	"os"

	"wireline/internal/netconn"
)

// readAhead reads until it is known whether there is a header. What it has read beyond
// the header will be read again. It is for connections that Peek does not work on.
func (a *accepted) readAhead() (header, error) {
	conn := a.more().conn
	b := make([]byte, 0, fixedSize+maxRest)
	for {
		n, err := conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		h, parseErr := parseHeader(b)
		switch half := errors.Is(parseErr, io.ErrUnexpectedEOF); {
		case half && err == nil:
			continue
		case !half:
			err = parseErr
		case err == io.EOF && len(b) == 0:
			err = errNothing
		case err == io.EOF, parseErr == errBegun && errors.Is(err, os.ErrDeadlineExceeded):
			err = atEnd(parseErr)
		}
		if rest := b[h.size:]; len(rest) > 0 {
			a.setConn(withRest(conn, rest))
		}
		h.size = 0 // it was read
		return h, err
	}
}

// withRest returns conn with its first bytes, which were read too early.
func withRest(conn net.Conn, first []byte) net.Conn {
	if conn, ok := conn.(*net.TCPConn); ok {
		return &unreadTCPConn{addrTCPConn{conn, addrs{conn.LocalAddr(), conn.RemoteAddr()}}, first}
	}
	return &unread{conn, first}
}

// firstBytes are bytes that were read too early.
type firstBytes []byte

// read reads the first bytes, and after them from conn.
func (f *firstBytes) read(conn io.Reader, p []byte) (int, error) {
	if len(*f) == 0 {
		return conn.Read(p)
	}
	n := copy(p, *f)
	*f = (*f)[n:]
	return n, nil
}

// unreadTCPConn is a TCP connection whose first bytes were read too early. It has the other
// methods of the connection underneath.
type unreadTCPConn struct {
	addrTCPConn
	first firstBytes
}

// Read reads the first bytes, and after them from the connection.
func (u *unreadTCPConn) Read(p []byte) (int, error) { return u.first.read(u.TCPConn, p) }

// WriteTo implements io.WriterTo.
func (u *unreadTCPConn) WriteTo(w io.Writer) (int64, error) {
	n := 0
	if len(u.first) > 0 {
		var err error
		n, err = w.Write(u.first)
		u.first = u.first[n:]
		if err != nil {
			return int64(n), err
		}
	}
	more, err := u.TCPConn.WriteTo(w)
	return int64(n) + more, err
}

// Socket returns nil: the bytes of the socket are not those of the connection.
func (u *unreadTCPConn) Socket() net.Conn { return nil }

// unread is another connection whose first bytes were read too early.
type unread struct {
	net.Conn
	first firstBytes
}

// Read reads the first bytes, and after them from the connection.
func (u *unread) Read(p []byte) (int, error) { return u.first.read(u.Conn, p) }

// CloseWrite sends a FIN, if the connection underneath can.
func (u *unread) CloseWrite() error { return netconn.CloseWrite(u.Conn) }

// NetConn returns the connection underneath.
func (u *unread) NetConn() net.Conn { return u.Conn }
