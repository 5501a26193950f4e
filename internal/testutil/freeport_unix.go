//go:build unix

package testutil

import (
	"errors"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// FreePort returns a port of 127.0.0.1 for a listener that is opened later. On Linux nobody else
// gets the port before the test ends: a socket stays bound to it. While that socket does not
// listen, another one with SO_REUSEADDR, as servers set it, can be bound to the port by number,
// but the kernel does not choose the port itself, neither for bind nor for connect
// (inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c, __inet_hash_connect in
// net/ipv4/inet_hashtables.c).
func FreePort(t testing.TB) string {
	t.Helper()
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		t.Cleanup(func() { syscall.Close(fd) })
	} else {
		defer syscall.Close(fd)
	}
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, nameErr := syscall.Getsockname(fd)
	if err = errors.Join(err, nameErr); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
}
