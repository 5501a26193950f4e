package rawfd_test

import (
	"io"
	"net"
	"syscall"
	"testing"

	"wireline/internal/rawfd"
	"wireline/internal/testutil"
)

// It takes what has come, as much as it may, and does not wait for more.
func TestDiscard(t *testing.T) {
	client, server := testutil.Pair(t)
	raw, err := server.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	discard := func(limit int) (n int) {
		raw.Control(func(fd uintptr) { n = rawfd.Discard(fd, limit) })
		return n
	}
	await := func() {
		raw.Read(func(fd uintptr) bool { n, _ := rawfd.Peek(int(fd), make([]byte, 8)); return n > 0 })
	}
	if n := discard(100); n != 0 {
		t.Errorf("%d bytes of nothing", n)
	}
	io.WriteString(client, "0123456789")
	await()
	if n := discard(4); n != 4 {
		t.Errorf("%d bytes, want 4", n)
	}
	if n := discard(0); n != 0 {
		t.Errorf("%d bytes, want none", n)
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(server, b); string(b) != "4" || err != nil {
		t.Errorf("%q is next, %v", b, err)
	}
	if n := discard(100); n != 5 {
		t.Errorf("%d bytes, want the other 5", n)
	}
	client.(*net.TCPConn).CloseWrite()
	if n, err := server.Read(b); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v; want the end", n, err)
	}
	if n := discard(100); n != 0 {
		t.Errorf("%d bytes after the end", n)
	}
}
