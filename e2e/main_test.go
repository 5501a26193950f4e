// Package e2e tests the program from outside: its processes serve clients and receive signals.
// It holds tests only.
package e2e

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"wireline/internal/app"
	"wireline/internal/testutil"
	"wireline/tcptest"
)

// The exit codes of the program, as in docs/configuration.md.
const (
	exitOK     = 0 // a clean stop
	exitFailed = 1 // could not serve, or clients had to be cut
	exitUsage  = 2 // bad usage or configuration
)

// TestMain makes the test binary act as the program under these names, which are put into
// PATH. So the tests need no build.
func TestMain(m *testing.M) {
	tcptest.Timeout = testutil.Patience
	testutil.WaitInParallel(6)
	testscript.Main(noLeaks{m}, map[string]func(){
		"wireline": func() { app.Main("") },
		"worker":   worker,
		"relay":    relay,
		"portable": portable,
	})
}

// noLeaks runs the tests, and fails if goroutines are left.
type noLeaks struct{ m *testing.M }

func (n noLeaks) Run() int {
	// Under nohup the programs would inherit that SIGHUP is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
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
