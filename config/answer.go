package config

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
)

// Answer does what the command line asks for, and writes to w: the help, the version, the
// configuration in force, or, after Check, that it is good. It reports false, and does nothing,
// if the program is to serve. The error is one of writing or of Check; warnings of Check go to
// warn.
func (l *Loaded) Answer(ctx context.Context, w io.Writer, warn func(error)) (answered bool, err error) {
	switch l.Action {
	case Help:
		usage(w, l.schema)
	case Version:
		_, err = fmt.Fprintf(w, "%s %s\n", l.schema.options.name(), l.schema.options.version())
	case Print:
		err = l.Print(w)
	case Check:
		if err = l.Check(ctx, warn); err == nil {
			_, err = fmt.Fprintln(w, "configuration is good")
		}
	default:
		return false, nil
	}
	return true, err
}

func (o *Options) version() string {
	if o.Version != "" {
		return o.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
