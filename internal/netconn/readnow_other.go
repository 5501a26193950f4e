//go:build !unix

package netconn

import (
	"errors"
	"net"
)

// CanReadNow reports whether ReadNow can read from conn. Here it cannot.
func CanReadNow(net.Conn) bool { return false }

// ReadNow cannot read without waiting here.
func ReadNow(net.Conn, []byte) (n int, empty bool, err error) {
	return 0, false, errors.ErrUnsupported
}
