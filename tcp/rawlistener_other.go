//go:build !linux

package tcp

import (
	"net"
	"os"
)

// rawListener accepts bare sockets on Linux. Elsewhere all connections come as net.Conn.
type rawListener struct{ file *os.File }

func newRawListener(net.Listener) *rawListener { return nil }

func isPlain(net.Listener) bool { return false }

func (l *rawListener) accept(*listener) (*accepted, error) { panic("unreachable") }
