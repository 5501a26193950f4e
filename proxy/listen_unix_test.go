//go:build unix

package proxy_test

import "golang.org/x/sys/unix"

// listenAgain changes the backlog of a listener.
func listenAgain(fd uintptr, backlog int) { unix.Listen(int(fd), backlog) }
