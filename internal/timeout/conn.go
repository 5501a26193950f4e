package timeout

import (
	"errors"
	"net"
	"os"
	"time"
)

// Conn is a net.Conn of whose Read a Timeout knows. It changes the read deadline. One goroutine
// may read at a time. After Done it is only the net.Conn.
type Conn struct {
	net.Conn
	timeout *Timeout // nil after Done
}

// Conn returns conn for use within the timeout. It is called once.
func (t *Timeout) Conn(conn net.Conn) *Conn {
	t.conn = Conn{conn, t}
	return &t.conn
}

// NetConn returns the connection itself; see [tls.Conn.NetConn].
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Done is called by the goroutine that has read, after its last Read within the timeout.
func (c *Conn) Done() { c.timeout = nil }

// Read implements net.Conn. If the timeout expires meanwhile, Read looks once more.
func (c *Conn) Read(p []byte) (n int, err error) {
	t := c.timeout
	if t == nil {
		return c.Conn.Read(p)
	}
	t.enter(c)
	n, err = c.Conn.Read(p)
	if !t.leave(n > 0) {
		return n, err
	}
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		n, err = c.look(p)
	}
	c.Conn.SetReadDeadline(time.Time{})
	t.looked(n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded))
	return n, err
}

func (c *Conn) look(p []byte) (n int, err error) {
	err = Look(c.Conn, func() (err error) {
		n, err = c.Conn.Read(p)
		return err
	})
	return n, err
}

// Look calls read, which reads from conn, to see whether something has arrived already. Where this
// process did not run for so long that read may not have looked at all, it is called again. The
// error is os.ErrDeadlineExceeded if nothing has arrived. The deadline stays set.
func Look(conn net.Conn, read func() error) (err error) {
	for range 3 {
		begin := time.Now()
		conn.SetReadDeadline(begin.Add(LookTime))
		err = read()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) < 2*LookTime {
			break
		}
	}
	return err
}
