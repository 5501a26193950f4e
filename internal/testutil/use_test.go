package testutil_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Only tests import the package. It imports nothing of the module: otherwise tests
// inside the imported packages could not import it.
func TestOnlyTestsImport(t *testing.T) {
	const root, self = "../..", "wireline/internal/testutil"
	read := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		read++
		isTest, isOwn := strings.HasSuffix(path, "_test.go"), filepath.Base(filepath.Dir(path)) == "testutil"
		for _, spec := range file.Imports {
			switch name, _ := strconv.Unquote(spec.Path.Value); {
			case name == self && !isTest:
				t.Errorf("%s imports %s, but is not a test", path, name)
			case strings.HasPrefix(name, "wireline/") && isOwn:
				t.Errorf("%s imports %s, but must not import a package of the module", path, name)
			}
		}
		return nil
	})
	if err != nil || read < 100 {
		t.Errorf("read only %d files, error %v", read, err)
	}
}
