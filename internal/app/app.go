// Package app is the wireline program: it reads the configuration, runs the server with
// the handler that the configuration names, and chooses the exit code.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"wireline/admin"
	"wireline/config"
	"wireline/internal/adminctl"
	"wireline/internal/memlimit"
	"wireline/lib/logger"
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
	if len(args) > 0 && adminctl.IsCommand(args[0]) {
		return p.command(args[0], args[1:], environ)
	}
	options, file := Options(p.versionString(), args, environ), new(configFile)
	options.ReadFile = file.readFirst
	var cfg Config
	loaded, err := config.Load(&cfg, options)
	if err != nil {
		p.report(err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	warn := func(err error) { p.report(fmt.Errorf("warning: %w", err)) }
	answered, err := loaded.Answer(ctx, p.stdout, warn)
	if !answered {
		options.ReadFile = file.readAgain
		err = p.serve(&state{&cfg, loaded}, options, file)
	}
	var start *tcp.StartError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &start):
		p.report(blame(loaded, start.Err))
		return exitUsage
	case errors.Is(err, tcp.ErrCut): // the last line of the log says so
	default:
		p.report(err)
		if loaded.Action == config.Check {
			return exitUsage
		}
	}
	return exitFailed
}

// blame returns err, for which nothing was served, with the keys to blame.
func blame(loaded *config.Loaded, err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, one := range joined.Unwrap() {
			all = append(all, blame(loaded, one))
		}
		return errors.Join(all...)
	}
	var of *tcp.ServerError
	if errors.As(err, &of) {
		service := "services." + of.Name + "."
		return loaded.Blame(err, service+"tcp", service+"proxy", service+"echo")
	}
	return loaded.Blame(err, "", "tcp", "proxy", "echo")
}

// serve runs the services until the program is told to stop. It writes what was logged before it
// returns, within flushTimeout. options and file are for further reads of the configuration.
func (p *program) serve(first *state, options config.Options, file *configFile) error {
	signal.Ignore(syscall.SIGPIPE) // the log may lose its reader, also while the process ends
	defer logger.Flush(flushTimeout)
	memlimit.SetForCgroup()
	cfg := first.cfg
	m, err := newMaker(p.stderr, cfg.Log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := cfg.checkUpstreams(ctx, m.warn(first.loaded)); err != nil {
		return &tcp.StartError{Err: err}
	}
	g := new(tcp.Group)
	r := newReloader(first, options, file, g, m)
	for _, name := range slices.Sorted(maps.Keys(r.servers)) {
		g.Servers = append(g.Servers, r.servers[name])
	}
	side := &admin.Server{Config: cfg.Admin, Group: g, Settings: r.settings, Level: m.log.Level, Version: p.versionString(), Log: m.log.Logger}
	if first.loaded.File() != "" { // there is something to read again
		g.OnReload = func() { r.reload("signal") }
		side.Reload = func(context.Context) (admin.ReloadResult, error) { return r.reload("api") }
		r.watcher.set(cfg.Reload.Watch)
		defer r.watcher.close()
	} else if cfg.Reload.Watch {
		m.log.Warn("reload.watch has no effect: there is no configuration file")
	}
	stop, err := side.Start()
	if err != nil {
		return &tcp.StartError{Err: first.loaded.Blame(err, "admin")}
	}
	defer stop()
	return g.Run(context.Background())
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
