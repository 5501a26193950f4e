//go:build !linux

package netconn

// RawClose is for the sockets of event loops, which are of Linux only.
func RawClose(int) { panic("unreachable") }
