package proxy_test

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"wireline/handler"
	"wireline/proxy"
	"wireline/tcp"
	"wireline/tcptest"
)

// spy looks at the sockets that a proxy has taken.
type spy struct {
	*proxy.Proxy
	lingers chan unix.Linger
}

func (s *spy) RegisterSocket(ctx context.Context, fd int, session handler.Session) bool {
	defer func() {
		if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil {
			s.lingers <- *l
		}
	}()
	return s.Proxy.RegisterSocket(ctx, fd, session)
}

// A socket that would wait in close(2), as its listener says, would hold up a loop. The
// reset does not, and stays.
func TestSocketsDoNotWaitInClose(t *testing.T) {
	for linger, want := range map[string]unix.Linger{"5s": {}, "reset": {Onoff: 1}} {
		_, upstream := newUpstream(t, "tcp")
		s := &spy{proxy.New(proxy.Config{Upstreams: []string{upstream}}), make(chan unix.Linger, 1)}
		server := tcptest.NewUnstartedServer(s)
		server.TCP.Config = tcp.Config{Linger: linger}
		server.Start()
		conn := server.Dial()
		if got := <-s.lingers; got.Onoff != want.Onoff {
			t.Errorf("%s: SO_LINGER is %v", linger, got)
		}
		conn.Close()
		server.Close()
	}
}

// Nor does a connection's goroutine, where there is no loop, as under TLS.
func TestConnectionsDoNotWaitInClose(t *testing.T) {
	for linger, want := range map[string]unix.Linger{"5s": {}, "reset": {Onoff: 1}} {
		_, upstream := newUpstream(t, "tcp")
		ln, err := tcp.Listen(t.Context(), &tcp.Config{Address: "127.0.0.1:0", Linger: linger})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		mode, _ := handler.ParseCloseMode(linger)
		x := proxy.New(proxy.Config{Upstreams: []string{upstream}})
		serve := x.Register(handler.WithCloseMode(t.Context(), mode), conn)
		raw, _ := conn.(*net.TCPConn).SyscallConn()
		raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER); err != nil || got.Onoff != want.Onoff {
				t.Errorf("%s: SO_LINGER is %v, %v", linger, got, err)
			}
		})
		client.(*net.TCPConn).SetLinger(0)
		client.Close() // with a RST, which ends the upstream's side too
		serve()
		x.Close()
	}
}
