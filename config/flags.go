package config

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
)

// Action is what the command line asks for.
type Action int

const (
	Serve   Action = iota // no flag: serve
	Check                 // --check: the configuration is good, there is nothing to do
	Print                 // --print-config
	Version               // --version
	Help                  // --help
)

// switches are the flags without a value. If several are given, the last one in this list
// counts.
var switches = []struct {
	name, letter string
	action       Action
	help         string
}{
	{"check", "", Check, "say whether the configuration is good, and stop"},
	{"print-config", "", Print, "print the configuration in force as YAML, with the source of each value"},
	{"version", "", Version, "print the version"},
	{"help", "h", Help, "print this"},
}

// text is the value of a flag. It is parsed later, as for the other sources.
type text string

func (t *text) Set(s string) error { *t = text(s); return nil }
func (t *text) String() string     { return string(*t) }
func (t *text) Type() string       { return "text" }

// growFlags adds the members of families that the command line names.
func growFlags(s *schema, args []string) {
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			s.grow(name)
		}
	}
}

// newFlags defines a flag for every key, --config and the switches.
func newFlags(s *schema) *pflag.FlagSet {
	flags := pflag.NewFlagSet(s.options.name(), pflag.ContinueOnError)
	for _, k := range s.all() {
		f := flags.VarPF(new(text), k.name, "", k.help)
		if k.kind.name == boolKind.name {
			f.NoOptDefVal = "true"
		}
	}
	flags.Var(new(text), "config", "read the configuration from this file")
	for _, sw := range switches {
		flags.VarPF(new(text), sw.name, sw.letter, sw.help).NoOptDefVal = "true"
	}
	return flags
}

// parseFlags gives the flags their values. pflag stops at the first error, so it gets one
// flag at a time, and all errors are reported.
func parseFlags(s *schema, flags *pflag.FlagSet, args []string) (problems []error) {
	for len(args) > 0 {
		n, err := nextFlag(s, flags, args)
		if err == nil && n == 2 { // pflag would not take the value of a flag that may be bare
			err = flags.Parse([]string{args[0] + "=" + args[1]})
		} else if err == nil {
			err = flags.Parse(args[:n])
		}
		if err != nil {
			problems = append(problems, err)
		}
		args = args[n:]
	}
	return problems
}

// nextFlag returns how many arguments belong to the first flag, and what is wrong with it.
func nextFlag(s *schema, flags *pflag.FlagSet, args []string) (n int, err error) {
	first := args[0]
	if first == "-h" {
		return 1, nil
	}
	if len(first) < 2 || first[0] != '-' || first == "--" {
		return 1, &Error{Source: "argument " + printable(first), Err: errors.New("only flags are known, such as " + s.sampleFlag())}
	}
	given, _, joined := strings.Cut(first, "=")
	name, source := strings.TrimPrefix(given, "--"), "flag "+printable(given)
	// If the value looks like a flag, it was forgotten. A value that does begin with two
	// dashes can be written as --key=--value.
	apart := !joined && len(args) > 1 && !strings.HasPrefix(args[1], "--")
	flag := flags.Lookup(name)
	switch {
	case flag == nil && apart && !strings.HasPrefix(args[1], "-"): // and what looks like its value
		return 2, &Error{Source: source, Err: unknownFlag(s, flags, name)}
	case flag == nil:
		return 1, &Error{Source: source, Err: unknownFlag(s, flags, name)}
	case joined || isSwitch(name):
		return 1, nil
	case flag.NoOptDefVal != "" && (!apart || strings.HasPrefix(args[1], "-")): // a bare bool
		return 1, nil
	case apart:
		return 2, nil
	}
	return 1, &Error{Key: name, Source: source, Err: errors.New("needs a value")}
}

// sampleFlag shows what a flag looks like.
func (s *schema) sampleFlag() string {
	for _, k := range s.keys {
		if k.def != "" {
			return "--" + k.name + " " + k.def
		}
	}
	return "--config FILE"
}

func isSwitch(name string) bool {
	for _, sw := range switches {
		if sw.name == name {
			return true
		}
	}
	return false
}

func unknownFlag(s *schema, flags *pflag.FlagSet, name string) error {
	var known []string
	flags.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return s.unknownKey("flag", "--", strings.TrimLeft(name, "-"), known)
}

// flagAction returns the action of the switches.
func flagAction(flags *pflag.FlagSet) (action Action, problems []error) {
	for _, sw := range switches {
		f := flags.Lookup(sw.name)
		if !f.Changed {
			continue
		}
		on, err := parseBool(f.Value.String())
		if err != nil {
			problems = append(problems, &Error{Source: "flag --" + sw.name, Err: refuse(f.Value.String(), err)})
		} else if on.(bool) {
			action = sw.action
		}
	}
	return action, problems
}
