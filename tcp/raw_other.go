//go:build !linux

package tcp

import (
	"io"
	"net"
	"os"

	"wireline/internal/netconn"
)

// rawListener is what raw_linux.go has on Linux. Elsewhere all connections come
// as net.Conn.
type rawListener struct{ file *os.File }

func newRawListener(*Server, net.Listener) *rawListener { return nil }

func (l *rawListener) accept() (arrival, error) { panic("unreachable") }

func (s *Server) offer(*door, *arrival) bool { return false }

func (a *arrival) setLinger(seconds int) { netconn.SetLinger(a.conn, seconds) }

func (a *arrival) makeConn() error { return nil }

func (a *arrival) unmakeConn() error { return nil }

func (a *arrival) skip(n int) error {
	_, err := io.ReadFull(a.conn, make([]byte, n))
	return err
}
