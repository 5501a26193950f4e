//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed c/epoll.c
var epollSource []byte

var errNoCompiler = errors.New("no C compiler (cc) on the path")

// compileEpoll builds the C server in dir and returns the path of the program.
func compileEpoll(ctx context.Context, dir string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", errNoCompiler
	}
	source, program := filepath.Join(dir, "epoll.c"), filepath.Join(dir, "epoll")
	if err := os.WriteFile(source, epollSource, 0o600); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, cc, "-O2", "-o", program, source).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cc: %w\n%s", err, out)
	}
	return program, nil
}
