// Command chat is a chat server for nc and telnet: nicknames, rooms and private messages. It shows
// how a program is made of package handler, hub, config and admin.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"wireline/config"
	"wireline/tcp"
)

// The exit codes.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // could not serve, or connections had to be cut
	exitUsage  = 2 // bad usage or configuration, or an address that cannot be bound
)

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is the program: it serves until it is told to stop, and returns the exit code.
func run(args, environ []string, stdout, stderr io.Writer) int {
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
