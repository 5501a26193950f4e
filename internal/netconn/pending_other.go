//go:build !unix

package netconn

import "net"

// Broken returns nil: here nothing can be told.
func Broken(net.Conn) error { return nil }

// Unread returns false: here nothing can be told.
func Unread(net.Conn) bool { return false }
