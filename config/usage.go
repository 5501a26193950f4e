package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// Usage writes the text for --help: the command line, every key with its kind of value, its
// default and its variable, and the exit codes.
func Usage(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush()
	entry := func(flag string, lines ...string) {
		fmt.Fprintf(tw, "  %s\t%s\n", flag, strings.Join(lines, "\n  \t"))
	}
	io.WriteString(tw, "Usage: wireline [--config FILE]")
	for _, sw := range switches {
		fmt.Fprintf(tw, " [--%s]", sw.name)
	}
	io.WriteString(tw, " [--KEY VALUE ...]\n\n")
	entry("--config FILE", "read this file (.yaml, .yml, .toml or .json)", "default none, env "+configEnv)
	for _, sw := range switches {
		entry("--"+sw.name, sw.help)
	}
	io.WriteString(tw, "\nA file is weaker than the environment, the environment is weaker than a flag.\n\n")
	for _, k := range walk(reflect.TypeFor[Config]()).keys {
		entry("--"+k.name+" "+strings.ToUpper(k.kind.name), k.help, "default "+k.defaultText()+", env "+k.env())
	}
	io.WriteString(tw, "\nExit codes: 0 clean stop, 1 serving failed or clients were cut, 2 bad usage or configuration, or an address that cannot be bound.\n")
}
