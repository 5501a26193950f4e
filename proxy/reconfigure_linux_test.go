package proxy

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wireline/internal/testutil"
)

// The options of sockets are the new ones for the clients that come from now on.
func TestReconfigureSocketOptions(t *testing.T) {
	ln := testutil.Listen(t, "tcp", "127.0.0.1:0")
	x := &Proxy{Config: Config{Upstreams: []string{ln.Addr().String()}}, Log: slog.New(slog.DiscardHandler)}
	defer x.Close()
	idles := func() (list []int) {
		t.Helper()
		far, near := testutil.Pair(t)
		t.Cleanup(func() { far.Close() })
		x.Accept(newClient(near))
		upstream, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { upstream.Close() })
		for _, way := range [][2]net.Conn{{far, upstream}, {upstream, far}} {
			if _, err := io.WriteString(way[0], "x"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(way[1], make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		x.pairs.Range(func(p *pair) bool {
			n, err := unix.GetsockoptInt(p.upstream.socket.FD(), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			if err != nil {
				t.Error(err)
			}
			list = append(list, n)
			return true
		})
		return list
	}
	if got := idles(); len(got) != 1 || got[0] != 15 {
		t.Errorf("before: %d", got)
	}
	cfg := x.Config
	cfg.KeepAlive.Idle = 77 * time.Second
	if err := x.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if got := idles(); len(got) != 2 || got[0]+got[1] != 15+77 {
		t.Errorf("after: %d, want that of the first one as it was", got)
	}
}
