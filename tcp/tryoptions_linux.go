package tcp

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryOptions sets the socket options on a socket that is not bound. It reports the first one
// that the system does not take.
func (c *Config) tryOptions() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == unix.EAFNOSUPPORT {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := c.apply(uintptr(fd)); err != nil {
		return err
	}
	for _, s := range c.options() {
		if s.option != backlog {
			continue
		}
		if err := checkQueue(s.value); err != nil {
			return s.refuse(err)
		}
	}
	return nil
}
