//go:build linux

// Command bench compares servers on one machine: a bare C epoll loop, the goroutine per
// connection of most tutorials, cloudwego/netpoll, wireline, and Redis. Each server runs as a
// process of its own, and so does the load. README.md explains the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if code, ok := runChild(os.Args[1:]); ok {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code: 0, 1 if the run failed, 2 for bad usage.
func run(args []string) int {
	o, err := parse(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{options: o, out: os.Stdout, progress: os.Stderr}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}
