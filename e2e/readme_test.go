//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// README.md is tested where a comment before a fenced block says so:
//
//	<!-- session -->          of ```console: each line after "$ " is a command
//	                          for sh, and the lines below it are what it prints
//	<!-- session: server -->  the same with a server running, on whose port the
//	                          commands find it where they say 8000
//	<!-- compile -->          of ```go: a whole program, which go vet has to like
//	<!-- compile: test -->    the same of a test, which has to pass

// readmeFolder holds files to test this with.
const readmeFolder = "testdata/readme"

func TestREADME(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocksOf(t, string(text)) {
		t.Run(b.name(), func(t *testing.T) {
			t.Parallel()
			if err := b.check(t); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is wrong in a README is found: in the folder testdata/readme the first
// file is all right, and in the other nothing is.
func TestREADMECheck(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"good.md", "bad.md"} {
		text, err := os.ReadFile(filepath.Join(readmeFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		blocks := blocksOf(t, string(text))
		if len(blocks) < 3 {
			t.Errorf("%s: found %d blocks, there are more", name, len(blocks))
		}
		for _, b := range blocks {
			t.Run(name+" "+b.name(), func(t *testing.T) {
				t.Parallel()
				err := b.check(t)
				if good := name == "good.md"; good != (err == nil) {
					t.Errorf("good %t, error %v", good, err)
				}
			})
		}
	}
}

// block is a fenced block that is to be tested.
type block struct {
	line     int // in the file
	mark     string
	language string
	text     string
}

var (
	markedBlock = regexp.MustCompile("(?ms)^<!-- (session|session: server|compile|compile: test) -->\n\n?```(\\w+)\n(.*?)^```$")
	anyMark     = regexp.MustCompile(`(?m)^<!-- *(session|compile)\b.*$`)
)

// blocksOf finds the marked blocks. A mark that marks nothing is a mistake.
func blocksOf(t *testing.T, markdown string) []block {
	t.Helper()
	var blocks []block
	for _, at := range markedBlock.FindAllStringSubmatchIndex(markdown, -1) {
		part := func(i int) string { return markdown[at[2*i]:at[2*i+1]] }
		line := 1 + strings.Count(markdown[:at[0]], "\n")
		blocks = append(blocks, block{line, part(1), part(2), part(3)})
	}
	if marks := anyMark.FindAllString(markdown, -1); len(marks) != len(blocks) {
		t.Errorf("%d blocks for the marks %q", len(blocks), marks)
	}
	return blocks
}

func (b block) name() string { return fmt.Sprintf("%s in line %d", b.mark, b.line) }

// check reports what is wrong with the block.
func (b block) check(t *testing.T) error {
	t.Helper()
	kind, option, _ := strings.Cut(b.mark, ": ")
	if want := map[string]string{"session": "console", "compile": "go"}[kind]; b.language != want {
		return fmt.Errorf("a block marked %s is of ```%s, not ```%s", b.mark, want, b.language)
	}
	switch {
	case option == "test":
		return compile(t, "main_test.go", b.text, "vet", "test")
	case kind == "compile":
		return compile(t, "main.go", b.text, "vet")
	case option == "server":
		_, port := splitAddr(start(t).addr)
		return runSession(t, b.text, port)
	}
	return runSession(t, b.text, "8000")
}

// runSession runs the commands of a session in an empty folder, one after the
// other, and compares what they print. They find the server on port.
func runSession(t *testing.T, session, port string) error {
	t.Helper()
	folder := t.TempDir()
	commands, outputs := parseSession(session)
	if len(commands) == 0 || outputs[0] != "" {
		return errors.New(`a session begins with "$ " and a command`)
	}
	for _, tool := range []tool{openbsdNC, ncat, socat, telnet} {
		if regexp.MustCompile(`\b` + tool.name + `\b`).MatchString(strings.Join(commands, "\n")) {
			need(t, tool)
		}
	}
	for i, command := range commands {
		got, err := runShell(folder, strings.ReplaceAll(command, "8000", port))
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("$ %s\n%w", command, err)
		}
		got = strings.ReplaceAll(got, port, "8000")
		if got != "" && !strings.HasSuffix(got, "\n") {
			got += "\n" // a block cannot show that it is missing
		}
		if diff := cmp.Diff(outputs[i+1], got); diff != "" {
			return fmt.Errorf("$ %s\n(-want +got):\n%s", command, diff)
		}
	}
	return nil
}

// parseSession takes the commands and what they print apart: outputs[0] comes
// before any command, outputs[i+1] after commands[i].
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

// runShell returns all that a command prints.
func runShell(folder, command string) (printed string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir = folder
	cmd.Env = environment()
	cmd.WaitDelay = time.Second // when something goes on in the background
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(out), err
}

// compile runs commands of the go tool on a program that imports this module. An
// overlay shows them the program in a folder of the module that holds no other,
// so they find all it imports, and nothing is written there.
func compile(t *testing.T, name, program string, commands ...string) error {
	t.Helper()
	tool := need(t, goTool)
	folder, err := filepath.Abs(readmeFolder)
	if err != nil {
		return err
	}
	file, overlay := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), "overlay.json")
	replace := map[string]map[string]string{"Replace": {filepath.Join(folder, name): file}}
	text, err := json.Marshal(replace)
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(file, []byte(program), 0o600), os.WriteFile(overlay, text, 0o600)); err != nil {
		return err
	}
	for _, command := range commands {
		cmd := exec.Command(tool, command, "-overlay", overlay, ".")
		cmd.Dir = folder
		cmd.Env = append(environment(), "GOPROXY=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", command, err, out)
		}
	}
	return nil
}
