//go:build unix

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tool is a program of others that a test needs.
type tool struct {
	name string
	pkg  string // the Debian package that has it
	mark string // what its help says and no namesake's does; empty if it has none
}

var (
	openbsdNC = tool{name: "nc", pkg: "netcat-openbsd", mark: "OpenBSD netcat"}
	ncat      = tool{name: "ncat", pkg: "ncat"}
	socat     = tool{name: "socat", pkg: "socat"}
	telnet    = tool{name: "telnet", pkg: "inetutils-telnet"}
	strace    = tool{name: "strace", pkg: "strace"}
	goTool    = tool{name: "go", pkg: "golang-go"}
)

// need returns the tool's path, or skips the test because there is none. Where
// the environment says that all tools have to be there, as on a machine that is
// set up for the tests, it fails.
func need(t *testing.T, tool tool) string {
	t.Helper()
	path, err := exec.LookPath(tool.name)
	if err == nil && tool.mark != "" {
		help, _ := exec.Command(path, "-h").CombinedOutput() // some fail after -h
		if !strings.Contains(string(help), tool.mark) {
			err = exec.ErrNotFound
		}
	}
	const missing = "no %s of the Debian package %s here"
	switch {
	case err == nil:
	case os.Getenv("WIRELINE_TEST_INTEROP") == "required":
		t.Fatalf(missing+", and WIRELINE_TEST_INTEROP=required", tool.name, tool.pkg)
	default:
		t.Skipf(missing, tool.name, tool.pkg)
	}
	return path
}
