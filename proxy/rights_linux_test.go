package proxy_test

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"wireline/proxy"
)

// A unix socket's read ends behind bytes that came with a descriptor, though there are
// more: those are relayed too, and the descriptor is not.
func TestBytesBehindADescriptor(t *testing.T) {
	for _, tr := range transports {
		if tr.upstream != "unix" {
			continue
		}
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := tr.serve(t, proxy.Config{})
			client, upstream := s.pair()
			for _, ends := range [][2]net.Conn{{client, upstream}, {upstream, client}} {
				from, ok := ends[0].(*net.UnixConn)
				if !ok {
					continue
				}
				// All of it is there before the proxy reads, as a rule, but not always.
				for range 50 {
					sendRights(t, from, "ab", "cd", "ef")
					receive(t, ends[1], "abcdef")
				}
			}
		})
	}
}

// sendRights sends each of texts with a descriptor, as fast as it can.
func sendRights(t *testing.T, conn *net.UnixConn, texts ...string) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rights := unix.UnixRights(int(null.Fd()))
	raw.Control(func(fd uintptr) {
		for _, text := range texts {
			if err := unix.Sendmsg(int(fd), []byte(text), rights, nil, 0); err != nil {
				t.Error(err)
			}
		}
	})
}
