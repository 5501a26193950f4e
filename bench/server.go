//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// announcement is the prefix of the line with which a server prints its address, and if it has
// two, that of its plain clients or of its admin side.
const announcement = "listening "

// server is one of the servers that are compared.
type server struct {
	name string

	// works lists what it can do.
	works []work

	// tls says that its clients speak TLS.
	tls bool

	// serve serves the clients of ln until ctx ends, over TLS if cfg is not nil. It is nil for
	// a program that is not part of this binary.
	serve func(ctx context.Context, ln net.Listener, w work, cfg *tls.Config) error

	// administered is serve for a server with an admin side, which a client asks for its metrics
	// while the server is measured. It returns what serves the clients, and what serves that side.
	administered func(work) (clients, side service, err error)

	// source is the file in c, and mode the argument, of a C program.
	source, mode string

	// relay is serve for a proxy, and program a proxy that is installed.
	relay   func(ctx context.Context, ln net.Listener, upstream netip.AddrPort, cfg *tls.Config) error
	program *program

	// forks says that it has a process per connection.
	forks bool

	// Of a server that is run by the bench program of another version: the file of that
	// program, and the server's name in it.
	binary, nameThere string
}

// The servers to which the others are compared.
const (
	cEpoll = "c-epoll"
	cCopy  = "c-copy"
	cWhole = "c-whole"

	cPublish = "c-publish"

	naive = "bufio"
	peer  = "netpoll"

	wirelineEcho = "wireline" // without an admin side

	naiveTLS = "bufio-tls"

	ioCopy       = "io-copy"
	nginx        = "nginx"
	haproxy      = "haproxy"
	socat        = "socat"
	wirelineName = "wireline-proxy"

	ioCopyTLS       = "io-copy-tls"
	nginxTLSName    = "nginx-tls"
	haproxyTLSName  = "haproxy-tls"
	wirelineTLSName = "wireline-proxy-tls"

	beforePrefix = "before-"
)

// servers lists them in the order of the tables.
var servers = []server{
	{name: cEpoll, works: []work{echoing}, source: "epoll.c"},
	{name: cCopy, works: []work{framing}, source: "frames.c", mode: "copy"},
	{name: cWhole, works: []work{framing}, source: "frames.c", mode: "whole"},
	{name: cPublish, works: audiences, source: "publish.c"},
	{name: naive, works: everyWork, serve: serveBufio},
	{name: peer, works: []work{echoing}, serve: serveNetpoll},
	{name: wirelineEcho, works: append(slices.Clone(everyWork), gathering), serve: serveWireline},
	{name: "wireline-admin", works: []work{echoing}, administered: wirelineWithAdmin},
	{name: "wireline-goroutine", works: everyWork, serve: serveWirelinePlain},
	{name: naiveTLS, works: tlsWorks, serve: serveBufio, tls: true},
	{name: "wireline-tls", works: tlsWorks, serve: serveWireline, tls: true},
	{name: "wireline-tls-goroutine", works: tlsWorks, serve: serveWirelinePlain, tls: true},
	{name: ioCopy, works: relays, relay: relayIOCopy},
	{name: nginx, works: relays, program: &nginxProgram},
	{name: haproxy, works: relays, program: &haproxyProgram},
	{name: socat, works: relays, program: &socatProgram, forks: true},
	{name: wirelineName, works: relays, relay: relayWireline},
	{name: ioCopyTLS, works: relays, relay: relayIOCopy, tls: true},
	{name: nginxTLSName, works: relays, program: &nginxProgram, tls: true},
	{name: haproxyTLSName, works: relays, program: &haproxyProgram, tls: true},
	{name: wirelineTLSName, works: relays, relay: relayWireline, tls: true},
}

var (
	everyWork = []work{echoing, naps, fewNaps, winks, obeying, framing, publishing, sending}
	audiences = []work{publishing, sending}
	tlsWorks  = []work{echoing, framing}
	relays    = []work{relaying}
)

// before returns the server of the same name in binary, the bench program of an earlier
// version.
func (s server) before(binary string) server {
	s.name, s.nameThere, s.binary = beforePrefix+s.name, s.name, binary
	return s
}

// withBefore adds the servers of the framework as an earlier version has them.
func withBefore(chosen []server, binary string) (all []server) {
	for _, s := range chosen {
		if strings.HasPrefix(s.name, "wireline") {
			all = append(all, s.before(binary))
		}
		all = append(all, s)
	}
	return all
}

// isKnown reports whether the bench program of the earlier version has s: it does not take its
// name for -servers otherwise. With -h it does no more than that.
func (s server) isKnown(ctx context.Context) (bool, error) {
	err := exec.CommandContext(ctx, s.binary, "-servers", s.nameThere, "-h").Run()
	if _, refused := errors.AsType[*exec.ExitError](err); refused && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// mostForks is the largest number of connections for a server that forks.
const mostForks = 100

func (s server) isC() bool        { return s.source != "" }
func (s server) does(w work) bool { return slices.Contains(s.works, w) }
func (s server) usesCores() bool  { return !s.isC() } // whether it uses more than one core
func (s server) serves(l load) bool {
	return s.does(l.work) && s.tls == l.tls && (!l.shared || s.usesCores()) && (!s.forks || l.conns <= mostForks)
}

// answerHeap prints the size of the heap after a collection whenever SIGUSR1 comes.
func answerHeap() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Println(m.HeapAlloc)
		}
	}()
}

func findServer(name string) (server, error) {
	for _, s := range servers {
		if s.name == name {
			return s, nil
		}
	}
	return server{}, fmt.Errorf("unknown server %q", name)
}

// childArgs are the arguments of a server process: a subcommand, the server's name, the file
// with the certificate if it speaks TLS, and its work or its upstream.
func (b *bench) childArgs(subcommand string, s server, name, last string) []string {
	if s.tls {
		return []string{subcommand, name, b.certificate, last}
	}
	return []string{subcommand, name, last}
}

// certificateOf returns the file of the certificate if s speaks TLS.
func (b *bench) certificateOf(s server) string {
	if s.tls {
		return b.certificate
	}
	return ""
}

// childServer reads the arguments of a server process.
func childServer(args []string) (s server, cfg *tls.Config, last string, err error) {
	if s, err = findServer(args[0]); err != nil {
		return s, nil, "", err
	}
	want := 2
	if s.tls {
		want = 3
	}
	if len(args) != want {
		return s, nil, "", fmt.Errorf("server %q: %d arguments, want %d", s.name, len(args), want)
	}
	if s.tls {
		cfg, err = serverTLS(args[1])
	}
	return s, cfg, args[want-1], err
}

// serveChild is a server process: it prints its address and serves until it is told to stop.
func serveChild(args []string) error {
	if s, err := findServer(args[0]); err == nil && s.administered != nil && len(args) == 2 {
		clients, side, err := s.administered(work(args[1]))
		if err != nil {
			return err
		}
		return announced(clients, side)
	}
	serve, cfg, err := servingChild(args)
	if err != nil {
		return err
	}
	return announced(serve(cfg))
}

// serveBothChild serves plain clients on a listener of their own, too.
func serveBothChild(args []string) error {
	serve, cfg, err := servingChild(args)
	if err != nil {
		return err
	}
	return announced(serve(cfg), serve(nil))
}

// servingChild returns how to serve, given the configuration of TLS or nil.
func servingChild(args []string) (serve func(*tls.Config) service, cfg *tls.Config, err error) {
	s, cfg, last, err := childServer(args)
	if err != nil {
		return nil, nil, err
	}
	w := work(last)
	if s.serve == nil || !s.does(w) {
		return nil, nil, fmt.Errorf("server %q does not support %q", s.name, w)
	}
	return func(cfg *tls.Config) service {
		return func(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, w, cfg) }
	}, cfg, nil
}

// relayChild is a proxy process.
func relayChild(args []string) error {
	s, cfg, last, err := childServer(args)
	if err != nil {
		return err
	}
	if s.relay == nil {
		return fmt.Errorf("server %q is not a proxy of this program", s.name)
	}
	to, err := netip.ParseAddrPort(last)
	if err != nil {
		return err
	}
	return announced(func(ctx context.Context, ln net.Listener) error { return s.relay(ctx, ln, to, cfg) })
}

// service serves the clients of a listener.
type service func(context.Context, net.Listener) error

// announced runs each service on a listener of its own. It prints their addresses in a line.
func announced(services ...service) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	answerHeap()
	var listeners []net.Listener
	line := strings.TrimSpace(announcement)
	for range services {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners = append(listeners, ln)
		line += " " + ln.Addr().String()
	}
	fmt.Println(line)
	ended := make(chan error, len(services))
	for i, serve := range services[1:] {
		go func() { ended <- serve(ctx, listeners[i+1]) }()
	}
	err := services[0](ctx, listeners[0])
	for range services[1:] {
		err = errors.Join(err, <-ended)
	}
	return err
}
