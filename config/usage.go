package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// Usage writes the text for --help: the command line, every key of the struct that of points to
// with its kind of value, its default and its variable, and Options.Notes.
func Usage(w io.Writer, of any, o Options) {
	usage(w, walk(reflect.TypeOf(of).Elem(), o))
}

func usage(w io.Writer, s *schema) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush()
	entry := func(flag string, lines ...string) {
		fmt.Fprintf(tw, "  %s\t%s\n", flag, strings.Join(lines, "\n  \t"))
	}
	fmt.Fprintf(tw, "Usage: %s [--config FILE]", s.options.name())
	for _, sw := range switches {
		fmt.Fprintf(tw, " [--%s]", sw.name)
	}
	io.WriteString(tw, " [--KEY VALUE ...]\n\n")
	entry("--config FILE", "read this file (.yaml, .yml, .toml or .json)", "default none, env "+s.prefix+"CONFIG")
	for _, sw := range switches {
		entry("--"+sw.name, sw.help)
	}
	io.WriteString(tw, "\nA file is weaker than the environment, the environment is weaker than a flag.\n\n")
	for _, k := range s.keys {
		entry("--"+k.name+" "+strings.ToUpper(k.kind.name), k.help, "default "+k.defaultText()+", env "+k.env)
	}
	for _, f := range s.families {
		entry("--"+f.name+".NAME.KEY VALUE", f.help, "KEY is one of "+strings.Join(f.branches(), ", "), "env "+s.prefix+envName(f.name)+"_NAME_KEY")
	}
	if s.options.Notes != "" {
		fmt.Fprintf(tw, "\n%s\n", s.options.Notes)
	}
}

// branches returns what the keys of a member begin with: handler, tcp.* and so on.
func (f *family) branches() (list []string) {
	for _, k := range f.elem.keys {
		first, _, deep := strings.Cut(k.name, ".")
		if deep {
			first += ".*"
		}
		if len(list) == 0 || list[len(list)-1] != first {
			list = append(list, first)
		}
	}
	return list
}

// Table writes the keys of the struct that of points to as a table in Markdown, for a page of
// documentation. A test can compare it with the page.
func Table(w io.Writer, of any, o Options) error {
	s := walk(reflect.TypeOf(of).Elem(), o)
	cell := strings.NewReplacer("|", `\|`).Replace
	var b strings.Builder
	b.WriteString("| key | default | env | meaning |\n|---|---|---|---|\n")
	for _, k := range s.keys {
		def := ""
		if k.def != "" {
			def = "`" + cell(k.shownDefault()) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", k.name, def, k.env, cell(k.help))
	}
	for _, f := range s.families {
		fmt.Fprintf(&b, "| `%s.NAME.KEY` |  | `%s%s_NAME_KEY` | %s; KEY is one of %s |\n",
			f.name, s.prefix, envName(f.name), cell(f.help), "`"+strings.Join(f.branches(), "`, `")+"`")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
