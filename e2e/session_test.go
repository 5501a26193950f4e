//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wireline/internal/testutil"
)

// runSession runs the commands of a session one after the other in a folder, and compares
// their output. If port is set, it replaces readmePort in them.
func runSession(t *testing.T, session, folder, port string) error {
	t.Helper()
	commands, outputs := parseSession(session)
	if len(commands) == 0 || outputs[0] != "" {
		return errors.New(`a session begins with "$ " and a command`)
	}
	for _, tool := range []tool{openbsdNC, ncat, socat, telnet, goTool} {
		if regexp.MustCompile(`\b` + tool.name + `\b`).MatchString(strings.Join(commands, "\n")) {
			need(t, tool)
		}
	}
	if port == "" {
		port = readmePort
	}
	sh := startShell(t, folder)
	for i, command := range commands {
		got, err := sh.run(strings.ReplaceAll(command, readmePort, port))
		if err != nil {
			return fmt.Errorf("$ %s\n%w\n%s", command, err, got)
		}
		got = strings.ReplaceAll(got, port, readmePort)
		if got != "" && !strings.HasSuffix(got, "\n") {
			got += "\n" // a block cannot show a missing newline
		}
		if diff := cmp.Diff(outputs[i+1], got); diff != "" {
			return fmt.Errorf("$ %s\n(-want +got):\n%s", command, diff)
		}
		if strings.HasSuffix(command, "&") && !awaitListener(port) {
			return fmt.Errorf("$ %s\nno program listens on port %s after that", command, readmePort)
		}
	}
	return nil
}

// parseSession separates the commands from their output: outputs[0] precedes the first
// command, outputs[i+1] follows commands[i].
func parseSession(session string) (commands, outputs []string) {
	outputs = []string{""}
	for line := range strings.Lines(session) {
		if command, found := strings.CutPrefix(line, "$ "); found {
			commands = append(commands, strings.TrimSuffix(command, "\n"))
			outputs = append(outputs, "")
		} else {
			outputs[len(outputs)-1] += line
		}
	}
	return commands, outputs
}

// awaitListener waits until the port accepts connections.
func awaitListener(port string) bool {
	return testutil.Soon(patience, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// shell is a sh that receives its commands one by one.
type shell struct {
	stdin  io.Writer
	out    output
	read   int // how much of out belongs to earlier commands
	exited chan struct{}
}

// startShell starts a shell. At the end of the test it is killed, with all that it has
// started.
func startShell(t *testing.T, folder string) *shell {
	t.Helper()
	s := &shell{exited: make(chan struct{})}
	cmd := exec.Command("sh", "-s")
	cmd.Dir, cmd.Env = folder, outsideModule(t)
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin = stdin
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-s.exited
	})
	return s
}

// run runs a command and returns its output.
func (s *shell) run(command string) (printed string, err error) {
	const end = "<the end of the command>"
	fmt.Fprintf(s.stdin, "{ %s\n} </dev/null\nprintf '%s'\n", command, end)
	late := time.After(4 * patience) // it may be a build
	for {
		more := s.out.more()
		text := s.out.String()[s.read:]
		if printed, _, found := strings.Cut(text, end); found {
			s.read += len(printed) + len(end)
			return printed, nil
		}
		select {
		case <-more:
		case <-s.exited:
			return text, errors.New("the shell has ended")
		case <-late:
			return text, errors.New("the command does not end")
		}
	}
}
