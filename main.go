package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"wireline/config"
	"wireline/echo"
	"wireline/handler"
	"wireline/lib/logger"
	"wireline/proxy"
	"wireline/tcp"
)

// version is set when a release is built, with -ldflags "-X main.version=...".
var version = ""

// The exit codes.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // could not serve, or connections had to be cut
	exitUsage  = 2 // bad usage or configuration
)

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is the program: it does what args ask for and returns the exit code.
func run(args, environ []string, stdout, stderr io.Writer) int {
	cfg, err := config.Load(args, environ)
	if err != nil {
		report(stderr, err)
		return exitUsage
	}
	switch cfg.Action {
	case config.Help:
		config.Usage(stdout)
	case config.Version:
		fmt.Fprintf(stdout, "wireline %s %s %s/%s\n", versionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	case config.Check:
		fmt.Fprintln(stdout, "configuration is good")
	case config.Print:
		err = cfg.Print(stdout)
	default:
		err = serve(&cfg.Config, stderr)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, tcp.ErrCut): // the log's last line says so
	default:
		report(stderr, err)
	}
	return exitFailed
}

// serve runs the server until it is told to stop.
func serve(cfg *config.Config, stderr io.Writer) error {
	log, err := logger.New(stderr, cfg.Log)
	if err != nil {
		return err
	}
	cfg.TCP.Log = log
	record := handler.LogFailures(log)
	if cfg.Log.Connections {
		record = handler.LogRecords(log)
	}
	return tcp.ListenAndServe(&cfg.TCP, newHandler(cfg, log, record))
}

// newHandler makes the handler that the configuration names.
func newHandler(cfg *config.Config, log *slog.Logger, record func(handler.Record)) handler.Handler {
	if cfg.Handler == "proxy" {
		x := proxy.New(cfg.Proxy)
		x.Log, x.OnRecord = log, record
		return x
	}
	h := echo.New(cfg.Echo)
	h.OnRecord = record
	return h
}

// report writes each line of err, for Join puts one error on each.
func report(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "wireline: %s\n", strings.TrimSuffix(line, "\n"))
	}
}

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
