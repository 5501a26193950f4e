//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"wireline/internal/testutil"
)

// These tests build and run the programs of README.md as a module of their own.

// readmePort is the port in those programs.
const readmePort = "8000"

// runProgram builds a server with port in the place of readmePort. It starts it, calls during
// while it serves, and stops it. The program must exit with 0 then, and with 1 if it cannot
// serve.
func runProgram(t *testing.T, program, port string, during ...func() error) error {
	t.Helper()
	if !strings.Contains(program, readmePort) {
		return errors.New("there is no program that serves on port " + readmePort)
	}
	folder, err := newModule(t, "main.go", strings.ReplaceAll(program, readmePort, port), "vet", "build -o program")
	if err != nil {
		return err
	}
	binary := filepath.Join(folder, "program")
	p := launch(t, binary)
	listening := func() bool { return strings.Contains(p.stderr.String(), "listening") }
	testutil.Soon(patience, func() bool { return listening() || p.ended() })
	if !listening() {
		return errors.New("the program does not listen")
	}
	for _, f := range during {
		if err := f(); err != nil {
			return err
		}
	}
	if code := launch(t, binary).wait(); code != exitFailed {
		return fmt.Errorf("exit code %d where the port is taken, want %d", code, exitFailed)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitOK {
		return fmt.Errorf("exit code %d after a clean stop, want %d", code, exitOK)
	}
	return nil
}

// newModule makes a module with one file in a temporary folder, and returns a function that
// runs go commands there. A workspace makes this module available to it.
func newModule(t *testing.T, file, text string, commands ...string) (folder string, err error) {
	t.Helper()
	tool, folder := need(t, goTool), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
		return "", err
	}
	commands = append([]string{"mod init example.com/readme", "work init . " + repository(t)}, commands...)
	for _, command := range commands {
		cmd := exec.Command(tool, strings.Fields(command)...)
		cmd.Dir, cmd.Env = folder, outsideModule(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go %s: %w\n%s", command, err, out)
		}
	}
	return folder, nil
}

// repository returns the root folder of this repository.
func repository(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// outsideModule is the environment for commands in another module. They use the module cache
// and not the network.
func outsideModule(t *testing.T) []string {
	fillModuleCache()
	return append(environment(), "WIRELINE="+repository(t), "GOPROXY=off", "GOSUMDB=off", "GOWORK=")
}

// fillModuleCache makes sure that the cache has all that this module requires, since go test
// needs only what the tested packages import. Its error is ignored: the cache may suffice.
var fillModuleCache = sync.OnceFunc(func() {
	cmd := exec.Command("go", "mod", "download")
	cmd.Dir = ".."
	cmd.Run()
})

// A release is built with its version.
func TestVersionOfARelease(t *testing.T) {
	if testutil.Reduced() {
		t.Skip("builds the program")
	}
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "wireline")
	cmd := exec.Command(need(t, goTool), "build", "-o", binary, "-ldflags", "-X main.version=v1.2.3-test", ".")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(binary, "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "wireline v1.2.3-test go") {
		t.Errorf("printed %q, %v", out, err)
	}
}
