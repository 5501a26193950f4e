//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// announcement starts the line by which a server tells its address.
const announcement = "listening "

// server is one of the line echo servers that are compared.
type server struct {
	name string

	// serve answers the clients of ln until ctx ends. Nil stands for the C
	// program, which is no function of this binary.
	serve func(ctx context.Context, ln net.Listener) error
}

// servers lists them in the order of the tables. Ratios refer to the first two.
var servers = []server{
	{name: cEpoll},
	{name: naive, serve: serveBufio},
	{name: "netpoll", serve: serveNetpoll},
	{name: "wireline", serve: serveWireline},
}

// The two servers that the others are measured against.
const (
	cEpoll = "c-epoll"
	naive  = "bufio"
)

func findServer(name string) (server, error) {
	for _, s := range servers {
		if s.name == name {
			return s, nil
		}
	}
	return server{}, fmt.Errorf("unknown server %q", name)
}

// serveChild is a server process: it announces its address on standard output
// and serves until it is told to stop.
func serveChild(name string) error {
	s, err := findServer(name)
	if err != nil {
		return err
	}
	if s.serve == nil {
		return fmt.Errorf("server %q is a program of its own", name)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(announcement + ln.Addr().String())
	return s.serve(ctx, ln)
}
