package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"wireline/config"
	"wireline/internal/adminctl"
)

// command runs a command that talks to a program that runs, and returns the exit code.
func (p *program) command(name string, args, environ []string) int {
	cmd, err := adminctl.Parse(name, args)
	if err != nil {
		p.report(err)
		return exitUsage
	}
	if cmd.Usage != "" {
		io.WriteString(p.stdout, cmd.Usage)
		return exitOK
	}
	var cfg Config
	if _, err := config.Load(&cfg, Options(p.versionString(), cmd.ConfigArgs, environ)); err != nil {
		p.report(err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch err := cmd.Run(ctx, cfg.Admin, p.stdout); {
	case err == nil:
		return exitOK
	case errors.Is(err, adminctl.ErrUsage):
		p.report(err)
		return exitUsage
	default:
		p.report(err)
		return exitFailed
	}
}

// commandHelp lists the commands, for --help.
func commandHelp() string {
	var b strings.Builder
	fmt.Fprintln(&b, "Commands, for a program that runs with admin.address; see COMMAND --help:")
	adminctl.Help(&b)
	return b.String()
}
