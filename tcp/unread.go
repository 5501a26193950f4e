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
		case err == io.EOF, parseErr == errBegun && errors.Is(err, os.ErrDeadlineExceeded):
			err = atEnd(parseErr)
		}
		if rest := b[h.size:]; len(rest) > 0 {
			a.setConn(&unread{Conn: conn, rest: rest})
		}
		h.size = 0 // it was read
		return h, err
	}
}

// unread is a connection whose first bytes, rest, were read too early.
type unread struct {
	net.Conn
	rest []byte
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.rest) == 0 {
		return u.Conn.Read(p)
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// CloseWrite sends a FIN, if the connection underneath can.
func (u *unread) CloseWrite() error { return netconn.CloseWrite(u.Conn) }

// NetConn returns the connection underneath.
func (u *unread) NetConn() net.Conn { return u.Conn }
