//go:build linux

package main

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What comes for a client that was forgotten, such as a session ticket, is no wrong echo. The end of
// its connection is an error.
func TestForgottenClient(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	line := lineBurst(0, 0, 1)
	c := &client{fd: fds[0], bursts: [2][]byte{line, line}, sent: len(line), got: len(line), secure: new(secure)}
	g := &generator{buf: make([]byte, 100)}
	c.forget()
	for _, size := range []int{0, 1, 1000} {
		if _, err := unix.Write(fds[1], make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := g.handle(c, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if err := unix.Close(fds[1]); err != nil {
		t.Fatal(err)
	}
	if err := g.handle(c, unix.EPOLLIN); !errors.Is(err, errClosed) {
		t.Errorf("the end: %v", err)
	}
}
