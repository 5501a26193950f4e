package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// modulePath matches a valid module path.
var modulePath = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9._~-]+)*$`)

// renameModule renames the module in folder, and the modules below it, to path. It
// returns how many files it has changed. If a file cannot be read, it changes none.
func renameModule(folder, path string) (changed int, err error) {
	if !modulePath.MatchString(path) {
		return 0, fmt.Errorf("%q is not a valid module path", path)
	}
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return 0, err
	}
	declared := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(mod)
	if declared == nil {
		return 0, errors.New("go.mod has no module directive")
	}
	texts, err := rewriteFiles(folder, newRewriter(string(declared[1]), path))
	if err != nil {
		return 0, err
	}
	for name, text := range texts {
		if err := os.WriteFile(name, text, 0o666); err != nil { // keeps the mode of the file
			return changed, err
		}
		changed++
	}
	return changed, nil
}

// rewriteFiles returns the new texts of the files that change, by name.
func rewriteFiles(folder string, r rewriter) (texts map[string][]byte, err error) {
	texts = map[string][]byte{}
	err = filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		rewrite := r.forFile(d.Name())
		if rewrite == nil {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if after := rewrite(text); !bytes.Equal(text, after) {
			texts[name] = after
		}
		return nil
	})
	return texts, err
}

// rewriter replaces one module path by another.
type rewriter struct {
	directive *regexp.Regexp // the old path in a go.mod file
	quoted    *regexp.Regexp // an import path that begins with it, in Go files and documents
	command   *regexp.Regexp // the old path in commands in documents
	template  []byte         // the replacement, for Regexp.ReplaceAll
}

// newRewriter returns a rewriter from the path old to path. Each pattern has three
// groups: the text before the path, the path, and the text after it.
func newRewriter(old, path string) rewriter {
	old = regexp.QuoteMeta(old)
	return rewriter{
		directive: regexp.MustCompile(`(?m)(^(?:module |require |replace |exclude |\t))(` + old + `)((?:/\S*)?(?: |$))`),
		quoted:    regexp.MustCompile("([\"`])(" + old + `)(/)`),
		command:   regexp.MustCompile(`(=)(` + old + `)([=@])`),
		template:  []byte("${1}" + path + "${3}"),
	}
}

// forFile returns the function that rewrites a file with the given name, or nil if the
// file stays as it is.
func (r rewriter) forFile(name string) func(text []byte) []byte {
	switch {
	case name == "go.mod":
		return func(text []byte) []byte { return r.directive.ReplaceAll(text, r.template) }
	case strings.HasSuffix(name, ".go"):
		return func(text []byte) []byte { return r.quoted.ReplaceAll(text, r.template) }
	case strings.HasSuffix(name, ".md"):
		return func(text []byte) []byte {
			return r.command.ReplaceAll(r.quoted.ReplaceAll(text, r.template), r.template)
		}
	}
	return nil
}
