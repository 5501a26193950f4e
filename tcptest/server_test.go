package tcptest_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"wireline/handler"
	"wireline/tcptest"
)

func greeter() *handler.Plain {
	return handler.Func(func(_ context.Context, conn net.Conn) { io.WriteString(conn, "hello\n") })
}

func TestServer(t *testing.T) {
	s := tcptest.NewServer(greeter())
	defer s.Close()
	conn := s.Dial()
	defer conn.Close()
	tcptest.ReceiveAll(t, conn, "hello\n")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := net.DialTimeout("tcp", s.Addr, time.Second); err == nil {
		t.Error("the server still listens after Shutdown")
	}
}

// A whole server runs in a synctest bubble: its timeouts take no real time.
func TestServerInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tcptest.NewUnstartedServer(&handler.Frames{IdleTimeout: time.Hour})
		s.Serve(tcptest.Listen())
		defer s.Close()
		conn := s.Dial()
		defer conn.Close()
		begin := time.Now()
		tcptest.ReceiveAll(t, conn, "")
		if idle := time.Since(begin); idle != time.Hour {
			t.Errorf("closed after %v, want an hour", idle)
		}
	})
}
