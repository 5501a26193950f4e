//go:build unix

package tlsfiles

import "syscall"

// nonblock lets open(2) return at once for a FIFO that nobody writes to.
const nonblock = syscall.O_NONBLOCK
