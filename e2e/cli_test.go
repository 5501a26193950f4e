package e2e

import (
	"errors"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wireline/internal/testutil"
)

// TestScripts runs the scripts in testdata/script against the command line.
func TestScripts(t *testing.T) {
	if testutil.RaceEnabled {
		t.Skip("starts the program for each of a hundred command lines, and hardly serves")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(10 * testutil.Patience), // of all of them together
		Setup:               takePort,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// takePort listens on a port during a script, and sets $TAKEN to its address.
func takePort(env *testscript.Env) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	env.Defer(func() { ln.Close() })
	env.Setenv("TAKEN", ln.Addr().String())
	return nil
}

// exits is the script command "exits CODE PROGRAM ARGUMENTS...": it runs the program as exec
// does, and checks its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENTS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}
