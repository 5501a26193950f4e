//go:build !linux

package tcp

import (
	"net"
	"os"
)

// rawListener accepts bare sockets on Linux. Elsewhere all connections come as net.Conn.
type rawListener struct{ file *os.File }

func newRawListener(*Server, net.Listener) *rawListener { return nil }

func (l *rawListener) accept(*listener) (*accepted, error) { panic("unreachable") }
