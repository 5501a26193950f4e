// Package e2e tests the program from outside, as processes that clients, signals and other
// programs meet. It holds tests alone.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"wireline/internal/app"
)

// The exit codes of the program, as README.md has them.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // could not serve, or clients had to be cut
	exitUsage  = 2 // bad usage or configuration
)

// TestMain makes commands of the test binary: under these names it is found in
// PATH, and is the program and not its tests. So the tests need no build.
func TestMain(m *testing.M) {
	testscript.Main(noLeaks{m}, map[string]func(){
		"wireline": func() { app.Main("") },
		"worker":   worker,
		"relay":    relay,
	})
}

// noLeaks runs the tests and then fails if they left goroutines behind.
type noLeaks struct{ m *testing.M }

func (n noLeaks) Run() int {
	code := n.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
