package handler

import (
	"errors"
	"io"
	"net"
	"os"

	"wireline/internal/netconn"
)

// ReadFrom implements io.ReaderFrom. From a socket to a socket it copies as package net
// does, with splice(2) on Linux. Then the bytes are counted when ReadFrom returns, and
// the end of the handler function does not wait for it.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	to, ok := unwrap(c.conn).(io.ReaderFrom)
	if !ok || !isSocket(r) && !isForwardedTCP(r) || !isSocket(c.conn) {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	n, err := to.ReadFrom(unwrap(r))
	c.noteCopyError(err, "write")
	c.mu.Lock()
	c.count.BytesOut += n
	c.count.FramesOut++
	c.mu.Unlock()
	return n, err
}

// WriteTo implements io.WriterTo, in the same way as ReadFrom. While it copies between
// two sockets, the client counts as idle: a drain ends the copy between two reads, and
// WriteTo returns ErrDraining.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	if !isSocket(w) || !isSocket(c.conn) {
		return io.Copy(w, struct{ io.Reader }{c})
	}
	c.setBusy(false)
	if err := c.stopped(); err != nil {
		return 0, err
	}
	n, err := io.Copy(unwrap(w), unwrap(c.conn))
	switch stopped := c.stopped(); {
	case err == nil:
		c.eof.Store(true)
	case errors.Is(err, os.ErrDeadlineExceeded) && stopped != nil:
		err = stopped
	default:
		c.noteCopyError(err, "read")
	}
	c.mu.Lock()
	c.busy = true
	c.count.BytesIn += n
	c.mu.Unlock()
	return n, err
}

// noteCopyError ends the connection if a copy between two sockets has failed with err
// because of this connection. On Linux, only the system knows which of the two sockets
// failed. On other systems err names the failed operation; op is the one that belongs
// to this connection.
func (c *Conn) noteCopyError(err error, op string) {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if netconn.Gone(c.conn) || failedOp(err) == op {
		c.endIO(err)
	}
}

// failedOp returns the operation of the innermost net.OpError in err, or "" if there is
// none.
func failedOp(err error) (name string) {
	for op := (*net.OpError)(nil); errors.As(err, &op); err = op.Err {
		name = op.Op
	}
	return name
}

// unwrap returns the socket inside conn if conn only changes its addresses, as a server
// does after a PROXY header. Otherwise it returns conn. Package net does not look
// inside wrappers.
func unwrap[T any](conn T) T {
	if in, ok := any(conn).(interface{ Socket() net.Conn }); ok {
		if s, ok := in.Socket().(T); ok {
			return s
		}
	}
	return conn
}

// isSocket reports whether v is a TCP or unix connection of package net, or a Conn on
// one.
func isSocket(v any) bool {
	switch v := unwrap(v).(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *Conn:
		return isSocket(v.conn)
	}
	return false
}

// isForwardedTCP reports whether r is the unexported type in which the WriteTo method
// of *net.TCPConn passes the connection on (tcpConnWithoutWriteTo in net/tcpsock.go).
// That is how io.Copy calls ReadFrom.
func isForwardedTCP(r io.Reader) bool {
	_, ok := r.(interface{ MultipathTCP() (bool, error) })
	return ok
}
