//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// announcement starts the line by which a server tells its address.
const announcement = "listening "

// server is one of the servers that are compared.
type server struct {
	name string

	// works lists what it can do.
	works []work

	// serve answers the clients of ln until ctx ends. Nil stands for a C
	// program, which is no function of this binary.
	serve func(ctx context.Context, ln net.Listener, w work) error

	// source is the file in c, and mode the argument, of a C program.
	source, mode string
}

// The servers that the others are measured against.
const (
	cEpoll = "c-epoll"
	cCopy  = "c-copy"
	cWhole = "c-whole"
	naive  = "bufio"
	peer   = "netpoll"
)

// servers lists them in the order of the tables.
var servers = []server{
	{name: cEpoll, works: []work{echoing}, source: "epoll.c"},
	{name: cCopy, works: []work{framing}, source: "frames.c", mode: "copy"},
	{name: cWhole, works: []work{framing}, source: "frames.c", mode: "whole"},
	{name: naive, works: everyWork, serve: serveBufio},
	{name: peer, works: []work{echoing}, serve: serveNetpoll},
	{name: "wireline", works: everyWork, serve: serveWireline},
	{name: "wireline-goroutine", works: everyWork, serve: serveWirelinePlain},
}

var everyWork = []work{echoing, naps, fewNaps, obeying, framing}

func (s server) isC() bool          { return s.serve == nil }
func (s server) does(w work) bool   { return slices.Contains(s.works, w) }
func (s server) usesCores() bool    { return !s.isC() } // more than one of them
func (s server) serves(l load) bool { return s.does(l.work) && (!l.shared || s.usesCores()) }

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
func serveChild(name string, w work) error {
	s, err := findServer(name)
	if err != nil {
		return err
	}
	if s.isC() || !s.does(w) {
		return fmt.Errorf("server %q: does not do %q in this program", name, w)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(announcement + ln.Addr().String())
	return s.serve(ctx, ln, w)
}
