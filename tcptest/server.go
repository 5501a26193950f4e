package tcptest

import (
	"context"
	"fmt"
	"net"

	"wireline/handler"
	"wireline/tcp"
)

// Server is a running tcp.Server on a free port of the loopback interface, for tests
// over real sockets, as httptest.Server is for HTTP.
type Server struct {
	// Addr is the address of the listener, host:port. It is set by Start and Serve.
	Addr string

	// TCP is the underlying server. Its Config may be changed before Start.
	TCP *tcp.Server

	listener net.Listener
	served   chan error
}

// NewServer starts a server for h. The caller must call Close. It panics if the server
// cannot listen.
func NewServer(h handler.Handler) *Server {
	s := NewUnstartedServer(h)
	s.Start()
	return s
}

// NewUnstartedServer returns a server for h that is not listening yet, so that
// TCP.Config can be changed. Then call Start or Serve.
func NewUnstartedServer(h handler.Handler) *Server {
	return &Server{TCP: &tcp.Server{Handler: h}}
}

// Start listens on TCP.Config.Address, or on a free port if that is empty, and serves.
// It panics if the server cannot listen.
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

// Serve serves the connections of ln, which may be a [Listener].
func (s *Server) Serve(ln net.Listener) {
	s.listener = ln
	s.Addr = ln.Addr().String()
	s.served = make(chan error, 1)
	go func() { s.served <- s.TCP.Serve(context.Background(), ln) }()
}

// Dial connects to the server. It panics if that fails, or takes longer than Timeout.
func (s *Server) Dial() net.Conn {
	conn, err := dial(s.listener)
	if err != nil {
		panic(fmt.Sprintf("tcptest: %v", err))
	}
	return conn
}

func dial(ln net.Listener) (net.Conn, error) {
	own, inMemory := ln.(*Listener)
	switch {
	case !inMemory:
		return net.DialTimeout(ln.Addr().Network(), ln.Addr().String(), Timeout)
	case inBubble():
		return own.Dial()
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	return own.DialContext(ctx)
}

// Shutdown drains the server until ctx ends, then cuts the connections that are left.
// It returns the error of tcp.Server.Shutdown.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.TCP.Shutdown(ctx)
	if s.served != nil { // it was started
		served := <-s.served
		s.served <- served // for the next call
	}
	return err
}

// Close cuts all connections and waits for their handlers, but not for a handler that
// goes on without its connection. It may be called after Shutdown.
func (s *Server) Close() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ended)
}
