// Command rpc is a server of requests in JSON, and its client. It shows pipelining with answers out
// of order, and how the two sides of a program share a protocol.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"wireline/admin"
	"wireline/config"
	"wireline/lib/logger"
	"wireline/tcp"
)

// The exit codes.
const (
	exitOK     = 0 // a clean stop, or a call with a result
	exitFailed = 1 // could not serve, or clients had to be cut, or a call has failed
	exitUsage  = 2 // bad usage or configuration, or an address that cannot be bound
)

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is the program, and returns the exit code.
func run(args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "call" {
		return call(args[1:], stdout, stderr)
	}
	var cfg Config
	loaded, err := config.Load(&cfg, options(args, environ))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	warn := func(err error) { fmt.Fprintln(stderr, "warning:", err) }
	answered, err := loaded.Answer(ctx, stdout, warn) // --help, --check and the like
	if !answered {
		err = serve(&cfg, loaded, stderr)
	}
	return exitCode(loaded, err, stderr)
}

// exitCode reports err, and returns the exit code for it.
func exitCode(loaded *config.Loaded, err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, tcp.ErrCut) { // the log's last line reports that
		fmt.Fprintln(stderr, err)
	}
	var start *tcp.StartError
	if errors.As(err, &start) || loaded.Action == config.Check {
		return exitUsage
	}
	return exitFailed
}

// serve serves clients until the process is told to stop. If it cannot begin, the error is a
// *tcp.StartError, and names the key that is to blame.
func serve(cfg *Config, loaded *config.Loaded, stderr io.Writer) error {
	log, err := logger.New(stderr, cfg.Log)
	if err != nil {
		return err
	}
	cfg.TCP.Log = log.Logger
	s := newServer(cfg.RPC, log.Logger, cfg.Log.Connections)
	group := &tcp.Group{Servers: []*tcp.Server{{Config: cfg.TCP, Handler: &s.frames}}}
	side := &admin.Server{
		Config: cfg.Admin, Group: group, Log: log.Logger, Level: log.Level,
		Settings: func() any { return cfg.RPC },
	}
	stopSide, err := side.Start()
	if err != nil {
		return &tcp.StartError{Err: loaded.Blame(err, "admin")}
	}
	defer stopSide()
	err = group.Run(context.Background())
	if start := (*tcp.StartError)(nil); errors.As(err, &start) {
		return &tcp.StartError{Err: loaded.Blame(start.Err, "tcp")}
	}
	return err
}
