package tcptest

import (
	"context"
	"fmt"
	"net"
	"time"

	"wireline/handler"
	"wireline/tcp"
)

// Server is a tcp.Server on a port of its own on the loopback interface, for
// tests over real sockets, as httptest.Server is for HTTP.
type Server struct {
	// Addr is where it listens, as host:port, once it has started.
	Addr string

	// TCP is the server underneath. Its Config may be set before Start.
	TCP *tcp.Server

	listener net.Listener
	served   chan error
}

// NewServer starts a server for h. The caller closes it. It panics when it
// cannot listen.
func NewServer(h handler.Handler) *Server {
	s := NewUnstartedServer(h)
	s.Start()
	return s
}

// NewUnstartedServer returns a server for h that does not listen yet, so that
// TCP.Config can be set.
func NewUnstartedServer(h handler.Handler) *Server {
	return &Server{TCP: &tcp.Server{Handler: h}}
}

// Start listens on a free port, or on TCP.Config.Address if that is set, and
// serves. It panics when it cannot.
func (s *Server) Start() {
	cfg := s.TCP.Config
	if cfg.Address == "" && cfg.Network != "unix" {
		cfg.Address = "127.0.0.1:0"
	}
	ln, err := tcp.Listen(context.Background(), &cfg)
	if err != nil {
		panic(fmt.Sprintf("tcptest: %v", err))
	}
	s.Serve(ln)
}

// Serve is Start with a listener of the caller's, as Listen of this package
// makes them.
func (s *Server) Serve(ln net.Listener) {
	s.listener = ln
	s.Addr = ln.Addr().String()
	s.served = make(chan error, 1)
	go func() { s.served <- s.TCP.Serve(context.Background(), ln) }()
}

// Dial connects to the server. It panics when it cannot.
func (s *Server) Dial() net.Conn {
	conn, err := dial(s.listener)
	if err != nil {
		panic(fmt.Sprintf("tcptest: %v", err))
	}
	return conn
}

func dial(ln net.Listener) (net.Conn, error) {
	if ln, ok := ln.(*Listener); ok {
		return ln.Dial()
	}
	return net.DialTimeout(ln.Addr().Network(), ln.Addr().String(), 10*time.Second)
}

// Shutdown drains the server until ctx ends, then cuts what is left, and
// returns tcp.Server's error.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.TCP.Shutdown(ctx)
	if s.served != nil { // it was started
		served := <-s.served
		s.served <- served // for the next call
	}
	return err
}

// Close cuts all connections, and waits for their handlers unless they go on
// without their connection. It may be called after Shutdown.
func (s *Server) Close() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ended)
}
