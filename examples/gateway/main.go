// Command gateway is a gateway for devices: they log in and send readings in a binary protocol, and
// get commands that come over HTTP. "gateway device" is a device to try it with.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"wireline/config"
	"wireline/lib/logger"
	"wireline/tcp"
)

// The exit codes.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // could not serve, or devices had to be cut
	exitUsage  = 2 // bad usage or configuration, or an address that cannot be bound
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is the program: it serves until it is told to stop, or ctx ends, and returns the exit code.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "device" {
		return runSimulator(ctx, args[1:], stdout, stderr)
	}
	first, err := load(args, environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	checking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	warn := func(err error) { fmt.Fprintln(stderr, "warning:", err) }
	if answered, err := first.loaded.Answer(checking, stdout, warn); answered {
		return exitCode(first.loaded, err, stderr)
	}
	again := func() (state, error) { return load(args, environ) }
	return exitCode(first.loaded, serve(ctx, first, again, stderr), stderr)
}

// state is a configuration that was read, and where its values are from.
type state struct {
	cfg    *Config
	loaded *config.Loaded
}

// load reads the configuration.
func load(args, environ []string) (state, error) {
	cfg := new(Config)
	loaded, err := config.Load(cfg, options(args, environ))
	return state{cfg, loaded}, err
}

// exitCode reports err, and returns the exit code for it.
func exitCode(loaded *config.Loaded, err error, stderr io.Writer) int {
	var start *tcp.StartError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &start):
		fmt.Fprintln(stderr, err)
		return exitUsage
	case errors.Is(err, tcp.ErrCut): // the log's last line reports that
		return exitFailed
	}
	fmt.Fprintln(stderr, err)
	if loaded.Action == config.Check {
		return exitUsage
	}
	return exitFailed
}

// serve serves devices and the HTTP side until the process is told to stop, or ctx ends.
func serve(ctx context.Context, first state, again func() (state, error), stderr io.Writer) error {
	log, err := logger.New(stderr, first.cfg.Log)
	if err != nil {
		return err
	}
	defer logger.Flush(time.Second)
	bus, stopNATS, err := first.cfg.NATS.open(log.Logger)
	if err != nil {
		return &tcp.StartError{Err: first.loaded.Blame(err, "nats")}
	}
	defer stopNATS()
	p := newProgram(first, again, bus, log)
	defer p.close()
	if err := p.gateway.hub.Start(); err != nil {
		return &tcp.StartError{Err: first.loaded.Blame(first.cfg.NATS.blame(err), "nats")}
	}
	stopSide, err := p.side.Start()
	if err != nil {
		return &tcp.StartError{Err: first.loaded.Blame(err, "admin")}
	}
	defer stopSide()
	defer p.gateway.hub.Close() // ends the commands to devices of other processes, before stopSide waits for their answers
	err = p.group.Run(ctx)
	if start := (*tcp.StartError)(nil); errors.As(err, &start) { // the key is known, as for the errors of load
		return &tcp.StartError{Err: first.loaded.Blame(start.Err, "tcp")}
	}
	return err
}
