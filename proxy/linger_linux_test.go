package proxy_test

import (
	"context"
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
