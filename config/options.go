package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Options says what Load reads, and what the program is called. The zero value is for a
// program that is named after its file.
type Options struct {
	// Name is the name of the program, for --help and --version. Empty means the name of the
	// file that the process runs.
	Name string

	// Prefix begins the names of the environment variables: with GATEWAY, the key tcp.address
	// is GATEWAY_TCP_ADDRESS. Empty means Name in upper case. Load panics if it is not made of
	// A to Z, 0 to 9 and _, or does not begin with a letter.
	Prefix string

	// Args is the command line without the name of the program. Nil means that of the process.
	Args []string

	// Environ is the environment, as os.Environ returns it. Nil means that of the process.
	Environ []string

	// ReadFile reads the file. Nil means the function ReadFile. What it returns is checked in the
	// same way.
	ReadFile func(name string) ([]byte, error)

	// Defaults are the program's own defaults, by key and as text, in the place of those in
	// the tags: {"tcp.address": ":2525"}. Load panics if there is no such key, or if the value
	// cannot be read.
	Defaults map[string]string

	// Version is what --version prints after the name. Empty means the version of the main
	// module.
	Version string

	// Notes are the last lines of --help, such as the exit codes.
	Notes string
}

func (o *Options) name() string {
	if o.Name != "" {
		return o.Name
	}
	return strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
}

var goodPrefix = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// envPrefix is the beginning of the program's variables, with its last "_".
func (o *Options) envPrefix() string {
	prefix := strings.TrimSuffix(o.Prefix, "_")
	if o.Prefix == "" {
		prefix = strings.ToUpper(strings.ReplaceAll(o.name(), "-", "_"))
	}
	if !goodPrefix.MatchString(prefix) {
		panic("config: Prefix " + prefix + " is not made of A to Z, 0 to 9 and _")
	}
	return prefix + "_"
}

func (o *Options) args() []string {
	if o.Args != nil {
		return o.Args
	}
	return os.Args[1:]
}

func (o *Options) readFile(name string) ([]byte, error) {
	if o.ReadFile != nil {
		return o.ReadFile(name)
	}
	return ReadFile(name)
}

func (o *Options) environ() []string {
	if o.Environ != nil {
		return o.Environ
	}
	return os.Environ()
}
