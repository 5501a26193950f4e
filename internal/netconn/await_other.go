//go:build !unix

package netconn

import "net"

// AwaitReset is of await_unix.go. Here nothing can be told.
func AwaitReset(net.Conn) error { return nil }

// Broken is of await_unix.go too.
func Broken(net.Conn) error { return nil }

// Unread is of await_unix.go too.
func Unread(net.Conn) bool { return false }
