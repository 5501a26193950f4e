//go:build linux

package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed c
var sources embed.FS

var errNoCompiler = errors.New("no C compiler (cc) on the path")

// compile builds a C server in dir and returns the program's path.
func compile(ctx context.Context, dir, name string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", errNoCompiler
	}
	if dir, err = os.MkdirTemp(dir, name); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, sources); err != nil {
		return "", err
	}
	source, program := filepath.Join(dir, "c", name), filepath.Join(dir, "server")
	out, err := exec.CommandContext(ctx, cc, "-O2", "-o", program, source).CombinedOutput()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("cc %s: %w\n%s", name, err, out)
	}
	return program, nil
}
