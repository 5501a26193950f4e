package proxy_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

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

func (s *spy) Accept(a handler.Accepted) {
	seen := &seen{Accepted: a}
	s.Proxy.Accept(seen)
	if l, err := unix.GetsockoptLinger(seen.fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil {
		s.lingers <- *l
	}
}

// seen is a connection whose socket somebody has asked for.
type seen struct {
	handler.Accepted
	fd int
}

func (s *seen) Socket() (fd int, ok bool) {
	s.fd, ok = s.Accepted.Socket()
	return s.fd, ok
}

// byGoroutine is a connection that has no socket for a loop.
type byGoroutine struct {
	handler.Accepted
	conn net.Conn
	mode handler.CloseMode
	done chan struct{}
}

func (b *byGoroutine) LocalAddr() net.Addr          { return b.conn.LocalAddr() }
func (b *byGoroutine) RemoteAddr() net.Addr         { return b.conn.RemoteAddr() }
func (b *byGoroutine) TLS() *tls.Conn               { return nil }
func (b *byGoroutine) CloseMode() handler.CloseMode { return b.mode }
func (b *byGoroutine) Memory() *handler.Memory      { return nil }
func (b *byGoroutine) Socket() (fd int, ok bool)    { return -1, false }
func (b *byGoroutine) Conn() (net.Conn, error)      { return b.conn, nil }
func (b *byGoroutine) Done()                        { close(b.done) }

// A socket that would wait in close(2), as its listener says, would hold up a loop. The
// reset does not, and stays.
func TestSocketsDoNotWaitInClose(t *testing.T) {
	for linger, want := range map[handler.CloseMode]unix.Linger{handler.CloseWithin(5 * time.Second): {}, handler.CloseReset: {Onoff: 1}} {
		_, upstream := newUpstream(t, "tcp")
		s := &spy{&proxy.Proxy{Config: proxy.Config{Upstreams: []string{upstream}}}, make(chan unix.Linger, 1)}
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
	for linger, want := range map[handler.CloseMode]unix.Linger{handler.CloseWithin(5 * time.Second): {}, handler.CloseReset: {Onoff: 1}} {
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
		x := &proxy.Proxy{Config: proxy.Config{Upstreams: []string{upstream}}}
		a := &byGoroutine{conn: conn, mode: linger, done: make(chan struct{})}
		x.Accept(a)
		raw, _ := conn.(*net.TCPConn).SyscallConn()
		raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER); err != nil || got.Onoff != want.Onoff {
				t.Errorf("%s: SO_LINGER is %v, %v", linger, got, err)
			}
		})
		client.(*net.TCPConn).SetLinger(0)
		client.Close() // with a RST, which ends the upstream's side too
		<-a.done
		x.Close()
	}
}
