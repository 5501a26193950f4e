//go:build !linux

package tcp

import (
	"io"
	"net"

	"wireline/internal/netconn"
)

// Elsewhere than on Linux all connections come as net.Conn.

// Socket implements handler.Accepted.
func (a *accepted) Socket() (fd int, ok bool) { return -1, false }

func (a *accepted) takeSocket() (fd int, ok bool) { return -1, false }

func (a *accepted) makeConn() error { return net.ErrClosed }

func (a *accepted) detach() error { return nil }

func (a *accepted) skip(n int) error {
	_, err := io.ReadFull(a.more().conn, make([]byte, n))
	return err
}

func (a *accepted) setLinger(seconds int) { netconn.SetLinger(a.more().conn, seconds) }

// reset closes the connection with a RST.
func (a *accepted) reset() { netconn.Reset(a.current()) }

func (a *accepted) close() { a.current().Close() }
