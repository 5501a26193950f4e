//go:build !linux

package rawfd

// Close is for the sockets of event loops, which are of Linux only.
func Close(int) { panic("unreachable") }
