package handler

import (
	"errors"
	"io"
	"net"
	"os"

	"wireline/internal/netconn"
)

// ReadFrom implements io.ReaderFrom. From a socket to a socket it is as package net
// has it, by splice(2) on Linux: then the bytes are counted when it returns, and a
// handler that returns meanwhile does not wait for it.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	to, ok := bare(c.conn).(io.ReaderFrom)
	if !ok || !isSocket(r) && !isHandedOn(r) || !isSocket(c.conn) {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	n, err := to.ReadFrom(bare(r))
	c.noteBreak(err, "write")
	c.mu.Lock()
	c.count.bytesOut += n
	c.count.framesOut++
	c.mu.Unlock()
	return n, err
}

// WriteTo implements io.WriterTo, in the same way. Between two sockets the client counts
// as idle meanwhile: a drain ends it between two reads, with ErrDraining.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	if !isSocket(w) || !isSocket(c.conn) {
		return io.Copy(w, struct{ io.Reader }{c})
	}
	c.setBusy(false)
	if err := c.stopped(); err != nil {
		return 0, err
	}
	n, err := io.Copy(bare(w), bare(c.conn))
	switch stopped := c.stopped(); {
	case err == nil:
		c.eof.Store(true)
	case errors.Is(err, os.ErrDeadlineExceeded) && stopped != nil:
		err = stopped
	default:
		c.noteBreak(err, "read")
	}
	c.mu.Lock()
	c.busy = true
	c.count.bytesIn += n
	c.mu.Unlock()
	return n, err
}

// noteBreak notes an end that a copy between two sockets tells of, if it was this
// connection that broke. On Linux only the system knows which of the two it was;
// elsewhere err names what has failed, op if it was this one.
func (c *Conn) noteBreak(err error, op string) {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if netconn.Gone(c.conn) || failedOp(err) == op {
		c.endIO(err)
	}
}

// failedOp is the innermost operation of package net that err is of.
func failedOp(err error) (name string) {
	for op := (*net.OpError)(nil); errors.As(err, &op); err = op.Err {
		name = op.Op
	}
	return name
}

// bare is conn, or the socket of package net's in it where that is the same but for its
// addresses, as a server has them that was told others. Package net looks into no
// wrapper.
func bare[T any](conn T) T {
	if in, ok := any(conn).(interface{ Socket() net.Conn }); ok {
		if s, ok := in.Socket().(T); ok {
			return s
		}
	}
	return conn
}

// isSocket reports whether v is a socket as package net has it, or a Conn on one.
func isSocket(v any) bool {
	switch v := bare(v).(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *Conn:
		return isSocket(v.conn)
	}
	return false
}

// isHandedOn reports whether r is a *net.TCPConn in the type, package net's own, in which
// its WriteTo hands it on: that is how io.Copy comes with it.
func isHandedOn(r io.Reader) bool {
	_, ok := r.(interface{ MultipathTCP() (bool, error) })
	return ok
}
