//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wireline/internal/testutil"
)

// README.md and the files in docs are tested where a comment before a fenced block says so:
//
//	<!-- compile -->           ```go: a whole program that serves on port 8000. It is
//	                           built outside this module, started and stopped.
//	<!-- compile: test -->     ```go: a test, which must pass
//	<!-- session -->           ```console: each line after "$ " is a command for sh, and
//	                           the lines below it are its output
//	<!-- session: server -->   the same while wireline serves, on port 8000
//	<!-- session: program -->  the same while the program before it serves
//	<!-- session: module -->   the same in a folder that holds the program before it as
//	                           main.go. After a command that ends in "&" the session goes
//	                           on when port 8000 accepts connections.
//
// In each of them a free port replaces port 8000, and $WIRELINE is the root folder of this
// repository.

func TestREADME(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	files, err := filepath.Glob("../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no documents: %v", err)
	}
	for _, file := range append(files, "../README.md") {
		for _, b := range blocksIn(t, file) {
			t.Run(filepath.Base(file)+" "+b.name(), func(t *testing.T) {
				t.Parallel()
				if testutil.Reduced() && b.builds() && file != "../README.md" {
					t.Skip("the README builds enough")
				}
				if err := b.check(t); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// The check finds mistakes: the first file in testdata/readme has none, and every block of the
// other file has one.
func TestREADMECheck(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	for _, name := range []string{"good.md", "bad.md"} {
		blocks := blocksIn(t, filepath.Join("testdata/readme", name))
		if len(blocks) < 3 {
			t.Errorf("%s: found only %d blocks", name, len(blocks))
		}
		for _, b := range blocks {
			t.Run(name+" "+b.name(), func(t *testing.T) {
				t.Parallel()
				if testutil.Reduced() && b.builds() {
					t.Skip("the README builds enough")
				}
				err := b.check(t)
				t.Log(err)
				if good := name == "good.md"; good != (err == nil) {
					t.Errorf("good %t, error %v", good, err)
				}
			})
		}
	}
}

// skipUnderRace skips a test whose programs are built without the race detector in any case.
func skipUnderRace(t *testing.T) {
	if testutil.RaceEnabled {
		t.Skip("it builds without the race detector")
	}
}

// log.Fatal(nil) ends a program with exit code 1. So the example programs must not pass it the
// result of a server that has stopped cleanly.
func TestExamplesExitCleanly(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	fatal := regexp.MustCompile(`log\.Fatal(ln)?\([\w.]+\.(ListenAndServe|Serve|Run)\(`)
	read := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch ext := filepath.Ext(path); {
		case err != nil:
			return err
		case ext != ".go" && ext != ".md", strings.Contains(path, "testdata"):
			return nil
		}
		text, err := os.ReadFile(path)
		if found := fatal.Find(text); found != nil {
			t.Errorf("%s contains %s", path, found)
		}
		read++
		return err
	})
	if err != nil || read < 100 {
		t.Errorf("read %d files: %v", read, err)
	}
}

// block is a fenced block that is to be tested.
type block struct {
	line     int // its line in the file
	mark     string
	language string
	text     string
	program  string  // the text of the program before it
	sessions []block // of a program: those that run while it serves
}

var (
	markedBlock = regexp.MustCompile("(?ms)^<!-- ([a-z: ]+) -->\n\n?```(\\w+)\n(.*?)^```$")
	anyMark     = regexp.MustCompile(`(?m)^<!-- *(session|compile)\b.*$`)
)

// languages maps each mark to the language of its blocks.
var languages = map[string]string{
	"compile": "go", "compile: test": "go",
	"session": "console", "session: server": "console", "session: program": "console", "session: module": "console",
}

// blocksIn finds the marked blocks of a file. A mark without a block is an error.
func blocksIn(t *testing.T, file string) []block {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	markdown, program := string(text), ""
	var blocks []block
	found, last := 0, -1 // last is the index of the program
	for _, at := range markedBlock.FindAllStringSubmatchIndex(markdown, -1) {
		part := func(i int) string { return markdown[at[2*i]:at[2*i+1]] }
		b := block{line: 1 + strings.Count(markdown[:at[0]], "\n"), mark: part(1), language: part(2), text: part(3), program: program}
		switch {
		case languages[b.mark] == "":
			continue
		case b.mark == "session: program" && last >= 0: // so that the program is built once
			blocks[last].sessions = append(blocks[last].sessions, b)
			found++
			continue
		case b.mark == "compile":
			program, last = b.text, len(blocks)
		}
		blocks = append(blocks, b)
		found++
	}
	if marks := anyMark.FindAllString(markdown, -1); len(marks) != found {
		t.Errorf("%s: %d blocks for the marks %q", file, found, marks)
	}
	return blocks
}

func (b block) name() string { return fmt.Sprintf("%s in line %d", b.mark, b.line) }

// builds reports whether the block compiles a program, which takes seconds.
func (b block) builds() bool {
	return strings.HasPrefix(b.mark, "compile") || b.mark == "session: module"
}

// builders bounds how many blocks are built at the same time: they compute, where most tests wait.
var builders = make(chan struct{}, 2)

func (b block) wrongLanguage() error {
	if want := languages[b.mark]; b.language != want {
		return fmt.Errorf("a block marked %s is of ```%s, not ```%s", b.mark, want, b.language)
	}
	return nil
}

// check returns an error if the block is wrong.
func (b block) check(t *testing.T) error {
	t.Helper()
	if err := b.wrongLanguage(); err != nil {
		return err
	}
	if b.builds() {
		builders <- struct{}{}
		defer func() { <-builders }()
	}
	port := strconv.Itoa(freePorts(t, 1))
	switch b.mark {
	case "compile":
		return runProgram(t, b.text, port, func() (err error) {
			for _, s := range b.sessions {
				t.Run(s.name(), func(t *testing.T) { // by itself, because it may be skipped
					err = errors.Join(err, s.wrongLanguage(), runSession(t, s.text, t.TempDir(), port))
				})
			}
			return err
		})
	case "compile: test":
		_, err := newModule(t, "main_test.go", b.text, "vet", "test")
		return err
	case "session: server":
		_, port := splitAddr(start(t).addr)
		return runSession(t, b.text, t.TempDir(), port)
	case "session: program":
		return errors.New("no program is before it")
	case "session: module":
		folder := t.TempDir()
		main := strings.ReplaceAll(b.program, readmePort, port)
		if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(main), 0o600); err != nil {
			return err
		}
		return runSession(t, b.text, folder, port)
	}
	return runSession(t, b.text, t.TempDir(), "")
}
