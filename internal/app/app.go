// Package app is the wireline program: it reads the configuration, runs the server with
// the handler that the configuration names, and chooses the exit code.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"wireline/config"
	"wireline/echo"
	"wireline/handler"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// Exit codes.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // serving has failed, or connections were cut
	exitUsage  = 2 // the command line or the configuration is wrong, or the address cannot be bound
)

// How long names are looked up by --check, and before serving.
const (
	checkTimeout = 5 * time.Second
	startTimeout = time.Second
)

// flushTimeout is how long the program waits, when it ends, for what it writes to stderr.
const flushTimeout = time.Second

// Main runs the program with the arguments and the environment of the process, and
// exits. If version is empty, the version comes from the build information.
func Main(version string) {
	p := program{version: version, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.run(os.Args[1:], os.Environ()))
}

// program is the part of the program that does not depend on the configuration.
type program struct {
	version        string
	stdout, stderr io.Writer
}

// run does what args ask for and returns the exit code.
func (p *program) run(args, environ []string) int {
	cfg, err := config.Load(args, environ)
	if err != nil {
		p.report(err)
		return exitUsage
	}
	switch cfg.Action {
	case config.Help:
		config.Usage(p.stdout)
	case config.Version:
		fmt.Fprintf(p.stdout, "wireline %s %s %s/%s\n", p.versionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	case config.Check:
		if err := p.check(cfg); err != nil {
			p.report(err)
			return exitUsage
		}
		fmt.Fprintln(p.stdout, "configuration is good")
	case config.Print:
		err = cfg.Print(p.stdout)
	default:
		err = p.serve(&cfg.Config)
	}
	var start *tcp.StartError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &start):
		p.report(cfg.Blame(start.Err))
		return exitUsage
	case errors.Is(err, tcp.ErrCut): // the last line of the log says so
	default:
		p.report(err)
	}
	return exitFailed
}

// check reports what is wrong with the configuration as far as that can be known without
// listening. An upstream's name that does not resolve now may do so later: that is a warning.
func (p *program) check(cfg *config.Loaded) error {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	warn := func(err error) { p.report(fmt.Errorf("warning: %w", cfg.Blame(err))) }
	return cfg.Blame(errors.Join(cfg.Config.TCP.Check(ctx), checkUpstreams(ctx, &cfg.Config, warn)))
}

// checkUpstreams reports an upstream whose name is that of this server.
func checkUpstreams(ctx context.Context, cfg *config.Config, warn func(error)) error {
	if cfg.Handler != "proxy" {
		return nil
	}
	return cfg.Proxy.Resolve(ctx, cfg.TCP.Network, cfg.TCP.Address, warn)
}

// serve runs the server until it is told to stop. It writes what was logged before it
// returns, within flushTimeout.
func (p *program) serve(cfg *config.Config) error {
	signal.Ignore(syscall.SIGPIPE) // the log may lose its reader, also while the process ends
	defer logger.Flush(flushTimeout)
	log, err := logger.New(p.stderr, cfg.Log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := checkUpstreams(ctx, cfg, func(error) {}); err != nil {
		return &tcp.StartError{Err: err}
	}
	cfg.TCP.Log = log
	record := handler.LogFailures(log)
	if cfg.Log.Connections {
		record = handler.LogRecords(log)
	}
	return tcp.ListenAndServe(&cfg.TCP, newHandler(cfg, log, record))
}

// newHandler returns the handler that the configuration names.
func newHandler(cfg *config.Config, log *slog.Logger, record func(handler.Record)) handler.Handler {
	if cfg.Handler == "proxy" {
		return &proxy.Proxy{Config: cfg.Proxy, Log: log, OnRecord: record}
	}
	h := echo.New(cfg.Echo)
	h.OnRecord = record
	return h
}

// report writes each line of err with a prefix. errors.Join puts each error on its own
// line. If nobody reads them, report returns after flushTimeout.
func (p *program) report(err error) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(p.stderr, "wireline: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}()
	select {
	case <-written:
	case <-time.After(flushTimeout):
	}
}

func (p *program) versionString() string {
	if p.version != "" {
		return p.version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
