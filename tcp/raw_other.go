//go:build !linux

package tcp

import (
	"net"
	"os"
)

// rawListener is what raw_linux.go has on Linux. Elsewhere all connections come
// as net.Conn.
type rawListener struct{ file *os.File }

func newRawListener(*Server, net.Listener) *rawListener { return nil }

func (l *rawListener) accept() (arrival, error) { panic("unreachable") }

func (s *Server) offer(*door, *arrival) bool { return false }

func (a *arrival) makeConn() error { return nil }
