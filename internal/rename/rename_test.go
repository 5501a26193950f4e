package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wireline/internal/testutil"

	"github.com/google/go-cmp/cmp"
)

const newPath = "github.com/you/wireline"

// The command renames the module in a copy of this repository. Then all its modules
// build, and the old path is gone. Renaming back restores every file.
func TestRenameThisTree(t *testing.T) {
	if testutil.Reduced() { // rename has no concurrency
		t.Skip("takes a few seconds")
	}
	folder := t.TempDir()
	if err := copyTree(folder, "../.."); err != nil {
		t.Fatal(err)
	}
	before := readTree(t, folder)
	old := pathOf(t, before["go.mod"])
	quoted := regexp.QuoteMeta(old)

	if out, err := runGo(folder, "run", "./internal/rename", newPath); err != nil || !strings.HasPrefix(out, "renamed the module to "+newPath+" in ") {
		t.Fatalf("%v\n%s", err, out)
	}
	after := readTree(t, folder)
	for _, name := range []string{"go.mod", "README.md", "main.go", "bench/go.mod", "examples/kv/go.mod", "examples/kv/main.go", "examples/smtpd/go.mod"} {
		if after[name] == before[name] {
			t.Errorf("%s did not change", name)
		}
	}
	left := regexp.MustCompile(`(?m)^.*(["` + "`" + `]` + quoted + `/|^module ` + quoted + `|[\t ]` + quoted + ` v0|=` + quoted + `[@=]).*$`)
	for name, text := range after {
		if line := left.FindString(text); line != "" && !strings.HasPrefix(name, "internal/rename/") {
			t.Errorf("%s still has %s", name, line)
		}
	}
	if out, err := exec.Command("gofmt", "-l", folder).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt: %v\n%s", err, out)
	}
	// Only import paths have changed. So it is enough that those of all packages and tests are found,
	// and that the root module compiles.
	for _, module := range []string{".", "examples/gateway", "examples/kv", "examples/smtpd", "bench", "e2e/page"} {
		list := []string{"list", "-test", "-deps", "./..."}
		if out, err := runGo(filepath.Join("../..", module), list...); err != nil {
			t.Logf("%s is skipped, because the module cache lacks a dependency: %v\n%s", module, err, out)
			if module == "." || os.Getenv("WIRELINE_TEST_INTEROP") == "required" {
				t.Fail()
			}
			continue
		}
		if out, err := runGo(filepath.Join(folder, module), list...); err != nil {
			t.Errorf("%s: go list: %v\n%s", module, err, out)
		}
	}
	if out, err := runGo(folder, "build", "./..."); err != nil {
		t.Errorf("go build: %v\n%s", err, out)
	}

	if _, err := renameModule(folder, old); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, readTree(t, folder)); diff != "" {
		t.Errorf("after renaming back (-want +got):\n%s", diff)
	}
}

// runGo runs the go command without network access.
func runGo(folder string, args ...string) (printed string, err error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// copyTree copies the regular files below from to to.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o777)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o666)
	})
}

// readTree returns the texts of the files below folder, by name.
func readTree(t *testing.T, folder string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(folder, name))
		texts[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// pathOf returns the module path in the text of a go.mod file.
func pathOf(t *testing.T, mod string) string {
	t.Helper()
	path, found := strings.CutPrefix(strings.SplitN(mod, "\n", 2)[0], "module ")
	if !found {
		t.Fatalf("go.mod does not begin with the module directive:\n%s", mod)
	}
	return path
}

func TestRewrite(t *testing.T) {
	r := newRewriter("a.b/c", "d.e/f")
	for _, test := range []struct{ file, text, want string }{
		{"go.mod", "module a.b/c\n", "module d.e/f\n"},
		{"go.mod", "module a.b/c/bench\n", "module d.e/f/bench\n"},
		{"go.mod", "require a.b/c v0.0.0\n", "require d.e/f v0.0.0\n"},
		{"go.mod", "require (\n\ta.b/c v0.0.0 // indirect\n)\n", "require (\n\td.e/f v0.0.0 // indirect\n)\n"},
		{"go.mod", "replace a.b/c => ../..\n", "replace d.e/f => ../..\n"},
		{"go.mod", "require a.b/cc v0.0.0\n", "require a.b/cc v0.0.0\n"},
		{"go.mod", "require aab/c v0.0.0\n", "require aab/c v0.0.0\n"},
		{"go.mod", "require x.y/a.b/c v0.0.0\n", "require x.y/a.b/c v0.0.0\n"},
		{"x.go", `import "a.b/c/d"`, `import "d.e/f/d"`},
		{"x.go", "const s = `import \"a.b/c/d\"`", "const s = `import \"d.e/f/d\"`"},
		{"x.go", `import "a.b/cc/d"`, `import "a.b/cc/d"`},
		{"x.go", `import "x/a.b/c/d"`, `import "x/a.b/c/d"`},
		{"x.go", `// a.b/c/d is a package`, `// a.b/c/d is a package`},
		{"x.md", "import \"a.b/c/d\", `a.b/c/d`", "import \"d.e/f/d\", `d.e/f/d`"},
		{"x.md", `$ go mod edit -require=a.b/c@v0.0.0 -replace=a.b/c=$DIR`, `$ go mod edit -require=d.e/f@v0.0.0 -replace=d.e/f=$DIR`},
	} {
		if got := string(r.forFile(test.file)([]byte(test.text))); got != test.want {
			t.Errorf("%s: %q becomes %q, want %q", test.file, test.text, got, test.want)
		}
	}
	if r.forFile("go.sum") != nil || r.forFile("x.svg") != nil {
		t.Error("files of other types are rewritten")
	}
}

// If renaming is not possible, no file changes.
func TestRenameRefuses(t *testing.T) {
	for _, test := range []struct{ mod, path string }{
		{"module a\n", ""}, {"module a\n", "two words"}, {"module a\n", "/b"}, {"module a\n", "b/"},
		{"module a\n", "b//c"}, {"module a\n", `b"`}, {"module a\n", "b$1"}, {"module a\n", "https://b.c/d"},
		{"go 1.26\n", "b"},
	} {
		folder := t.TempDir()
		file := filepath.Join(folder, "go.mod")
		if err := os.WriteFile(file, []byte(test.mod), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := renameModule(folder, test.path); err == nil || n > 0 {
			t.Errorf("%q: renamed to %q in %d files", test.mod, test.path, n)
		}
		if text, err := os.ReadFile(file); err != nil || !bytes.Equal(text, []byte(test.mod)) {
			t.Errorf("go.mod is %q, %v; want %q", text, err, test.mod)
		}
	}
	if _, err := renameModule(t.TempDir(), "b"); err == nil {
		t.Error("no error in a folder without a module")
	}
}
