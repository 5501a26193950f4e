// Command kv is an in-memory key-value server that speaks the protocol of Redis, RESP2 and
// inline commands.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"wireline/handler"
	"wireline/lib/frame"
	"wireline/tcp"
)

// The exit codes.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // could not serve, or connections had to be cut
	exitUsage  = 2 // bad usage
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// options are the program's flags.
type options struct {
	tcp          tcp.Config
	codec        Codec
	idleTimeout  time.Duration
	frameTimeout time.Duration
	writeTimeout time.Duration
	connections  bool
}

// run is the program: it serves until it is told to stop, and returns the exit code.
func run(args []string, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage // flag has printed the error
	}
	o.tcp.Log = slog.New(slog.NewTextHandler(stderr, nil))
	if err := listenAndServe(o); err != nil {
		if !errors.Is(err, tcp.ErrCut) { // the log's last line reports that
			fmt.Fprintln(stderr, "kv:", err)
		}
		return exitFailed
	}
	return exitOK
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := o.flags(stderr)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if err := o.validate(f.Args()); err != nil {
		fmt.Fprintln(stderr, "kv:", err)
		return o, err
	}
	return o, nil
}

// flags returns the flags that set o.
func (o *options) flags(stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("kv", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.tcp.Address, "addr", "127.0.0.1:6380", "host:port to listen on; port 0 picks one")
	f.IntVar(&o.tcp.MaxClients, "max-clients", 0, "clients at one time, 0 = no limit")
	f.IntVar(&o.codec.MaxArgs, "max-args", defaultMaxArgs, "largest number of arguments of a command")
	f.IntVar(&o.codec.MaxBulk, "max-value", defaultMaxBulk, "longest argument in bytes, up to 512 MiB")
	f.IntVar(&o.codec.MaxCommand, "max-command", defaultMaxCommand, "longest command in bytes, up to 1 GiB")
	f.DurationVar(&o.idleTimeout, "idle-timeout", 0, "close a client after this time without a byte in either direction, 0 = never")
	f.DurationVar(&o.frameTimeout, "frame-timeout", 0, "close a client whose command is not complete after this time, 0 = never")
	f.DurationVar(&o.writeTimeout, "write-timeout", 30*time.Second, "reset a client that takes no byte of a reply for this time, 0 = never")
	f.BoolVar(&o.connections, "log-connections", false, "log a line for each connection when it ends")
	return f
}

// validate reports a flag that is out of range, or an unexpected argument.
func (o *options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.codec.MaxBulk <= 0 || o.codec.MaxBulk > frame.MaxMax:
		return errors.New("-max-value must be between 1 and 512 MiB")
	case o.codec.MaxCommand <= 0 || o.codec.MaxCommand > maxMaxCommand:
		return errors.New("-max-command must be between 1 and 1 GiB")
	case o.codec.MaxArgs <= 0:
		return errors.New("-max-args must be positive")
	case o.idleTimeout < 0 || o.frameTimeout < 0 || o.writeTimeout < 0:
		return errors.New("a timeout must not be negative")
	}
	return o.tcp.Validate()
}

// listenAndServe serves until the process is told to stop.
func listenAndServe(o options) error {
	s := newServer(o.codec)
	defer s.close()
	s.frames.IdleTimeout = o.idleTimeout
	s.frames.FrameTimeout = o.frameTimeout
	s.frames.WriteTimeout = cmp.Or(o.writeTimeout, -1) // in Frames, zero is the default
	s.frames.OnRecord = handler.LogFailures(o.tcp.Log)
	if o.connections {
		s.frames.OnRecord = handler.LogRecords(o.tcp.Log)
	}
	return tcp.ListenAndServe(&o.tcp, &s.frames)
}
