//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// The hidden subcommands, with which this binary runs itself as a child process.
const (
	cmdServe = "serve" // NAME [CERTIFICATE] WORK: run that server with that work
	cmdBoth  = "both"  // NAME CERTIFICATE WORK: the same on two listeners, over TLS and plain
	cmdRelay = "relay" // NAME [CERTIFICATE] UPSTREAM: run that proxy
	cmdLoad  = "load"  // TASK: run the load and print a measurement
	cmdBulk  = "bulk"  // TASK: the same for streams at full speed
	cmdShort = "short" // TASK: the same for short connections over TLS
	cmdFlood = "flood" // TASK: make handshakes beside a load until it is told to stop
	cmdIdle  = "idle"  // TASK: connect many idle clients and print a footprint
	cmdTell  = "tell"  // TASK: run the load of a broadcast and print a measurement
	cmdRooms = "rooms" // TASK: have clients enter many rooms and print a footprint

	cmdScrape = "scrape" // ADDRESS: ask an admin side for its metrics every second until it is told to stop
)

// runChild runs a hidden subcommand. It reports false if args are not one.
func runChild(args []string) (code int, ok bool) {
	if len(args) < 2 {
		return 0, false
	}
	var err error
	switch args[0] {
	case cmdServe:
		err = serveChild(args[1:])
	case cmdBoth:
		err = serveBothChild(args[1:])
	case cmdRelay:
		err = relayChild(args[1:])
	case cmdLoad:
		err = taskChild(args[1], measure)
	case cmdBulk:
		err = taskChild(args[1], measureBulk)
	case cmdShort:
		err = taskChild(args[1], measureHandshakes)
	case cmdFlood:
		err = taskChild(args[1], runFlood)
	case cmdIdle:
		err = taskChild(args[1], measureIdle)
	case cmdTell:
		err = taskChild(args[1], measureAudience)
	case cmdRooms:
		err = taskChild(args[1], measureRooms)
	case cmdScrape:
		err = scrapeChild(args[1])
	default:
		return 0, false
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", args[0], err)
		return 1, true
	}
	return 0, true
}

// taskChild runs a task and prints its result as JSON.
func taskChild[R any](text string, do func(task) (R, error)) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return fmt.Errorf("task: %w", err)
	}
	r, err := do(t)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
