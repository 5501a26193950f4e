package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest size of a configuration file: a larger file must be another one.
const maxFile = 1 << 20

// parseFile returns the settings of a file, and what is wrong in it. The error is for a
// file that could not be read at all; from is the source of the file's name.
func parseFile(s *schema, name, from string) (settings []*setting, problems []error, err error) {
	fail := func(err error) ([]*setting, []error, error) {
		return nil, nil, &Error{Key: "config", Source: from, Err: fmt.Errorf("%s: %w", printable(name), err)}
	}
	extension := strings.ToLower(filepath.Ext(name))
	decode := decoders[extension]
	if decode == nil {
		return fail(fmt.Errorf("unknown extension %q, must be .yaml, .yml, .toml or .json", extension))
	}
	data, err := s.options.readFile(name)
	if err == nil {
		data, err = checkFile(data)
	}
	if err != nil {
		return fail(bare(err))
	}
	source := "file " + printable(name)
	tree, err := decode(data)
	if err != nil {
		return nil, nil, &Error{Source: source, Err: err}
	}
	f := file{schema: s, source: source, seen: map[string]bool{}}
	f.section("", tree)
	return f.settings, f.problems, nil
}

// ReadFile reads a file as Load does: the first MiB of it, and a byte more if it is larger, which
// Load refuses. Like os.ReadFile it waits for a FIFO, and for a disk that does not answer.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory") // Windows has no such error
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// checkFile returns the text of a file, without a byte order mark.
func checkFile(data []byte) ([]byte, error) {
	switch {
	case len(data) > maxFile:
		return nil, errors.New("is larger than 1 MiB")
	case !utf8.Valid(data):
		return nil, errors.New("is not UTF-8 text")
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), nil
}

// bare returns an error without its operation and path: the path is in the message
// already.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// file is a configuration file whose tree is being read. The walk only enters sections of
// the schema, so the depth of the file and its aliases cannot make it long.
type file struct {
	schema   *schema
	source   string
	seen     map[string]bool
	settings []*setting
	problems []error
}

func (f *file) problem(name string, err error) {
	f.problems = append(f.problems, &Error{Key: name, Source: f.source, Err: err})
}

// section reads the settings of a section; the name of the whole file is empty.
func (f *file) section(name string, tree *yaml.Node) {
	tree = follow(tree)
	switch {
	case isNull(tree): // all its keys may be commented out
		return
	case tree.Kind != yaml.MappingNode && name == "":
		f.problem(name, errors.New("does not contain keys and values"))
		return
	case tree.Kind != yaml.MappingNode:
		f.problem(name, errors.New("is a section, and needs keys below it"))
		return
	}
	for i := 0; i+1 < len(tree.Content); i += 2 {
		f.member(join(name, follow(tree.Content[i]).Value), tree.Content[i+1])
	}
}

// member reads the settings below a name.
func (f *file) member(name string, tree *yaml.Node) {
	m, rest := f.schema.grow(name)
	k := f.schema.byName[name]
	if m != nil && (rest == "" || k != nil || f.schema.isSection(name)) {
		m.inFile = true
		m.seen(f.source)
	}
	switch {
	case m == nil && f.schema.inFamily(name):
		f.problem(printable(name), errors.New("must be a name of the letters a to z and digits, and begin with a letter"))
	case k == nil && !f.schema.isSection(name):
		f.problem(printable(name), f.schema.unknownKey("key", "", name, f.schema.names()))
	case f.seen[name]:
		f.problem(name, errors.New("is set twice"))
	case k == nil:
		f.seen[name] = true
		f.section(name, tree)
	default:
		f.seen[name] = true
		f.value(k, follow(tree))
	}
}

// value makes a setting from a tree.
func (f *file) value(k *key, tree *yaml.Node) {
	set := &setting{key: k, source: f.source}
	var err error
	if tree.Kind == yaml.SequenceNode && k.kind == listKind {
		set.items, err = items(tree)
		set.text = strings.Join(set.items, ",")
	} else {
		set.text, err = scalar(tree)
	}
	if err != nil {
		f.problem(k.name, err)
		return
	}
	f.settings = append(f.settings, set)
}

// items returns the texts of a list; never nil.
func items(tree *yaml.Node) ([]string, error) {
	texts := make([]string, len(tree.Content))
	for i, item := range tree.Content {
		text, err := scalar(follow(item))
		if err != nil {
			return nil, fmt.Errorf("item %d %w", i+1, err)
		}
		texts[i] = text
	}
	return texts, nil
}

// scalar returns the text of a single value.
func scalar(tree *yaml.Node) (string, error) {
	switch {
	case isNull(tree):
		return "", errors.New("has no value")
	case tree.Kind == yaml.SequenceNode:
		return "", errors.New("is a list, and must be a single value")
	case tree.Kind == yaml.MappingNode:
		return "", errors.New("is a section, and must be a single value")
	}
	switch tag := tree.ShortTag(); tag {
	case "!!str", "!!bool", "!!int", "!!float", "!!timestamp", "!!merge":
		return tree.Value, nil
	default:
		return "", fmt.Errorf("has the tag %s, and must be plain text", printable(tag))
	}
}

// follow returns the tree that an alias stands for.
func follow(tree *yaml.Node) *yaml.Node {
	if tree.Kind == yaml.AliasNode {
		return tree.Alias
	}
	return tree
}

func isNull(tree *yaml.Node) bool {
	return tree.Kind == yaml.ScalarNode && tree.ShortTag() == "!!null"
}
