package proxy

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const hasUserTimeout = true

func setUserTimeout(fd uintptr, d time.Duration) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds(d)))
}
