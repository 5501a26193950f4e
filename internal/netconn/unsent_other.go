//go:build !linux

package netconn

import "net"

// Unacknowledged is of unsent_linux.go. Here it cannot be told.
func Unacknowledged(net.Conn) int { return 0 }

// tellsAcknowledged is of unsent_linux.go too.
const tellsAcknowledged = false

func acknowledged(net.Conn) bool { return true }

// Gone is of unsent_linux.go. Here it cannot be told.
func Gone(net.Conn) bool { return false }

func discard(net.Conn, int) int { return 0 }
