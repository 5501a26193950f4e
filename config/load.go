package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Loaded is what Load has read: where each value comes from, and what the command line asks
// for. The values are in the struct that was given to Load.
type Loaded struct {
	// Action is what the command line asks for. Answer does everything but Serve.
	Action Action

	schema   *schema
	file     string
	empty    bool          // the file sets no key
	settings []*setting    // one for each key, in the order of the schema
	into     reflect.Value // the caller's struct
}

// Load reads a configuration into the struct that into points to. Its tags say which keys
// there are, as the package's comment explains. Fields without a key stay as they are. The
// file is that of the flag --config or else of the variable CONFIG with the prefix.
//
// The error has all problems, one a line and each an *Error: first those in the file, then
// in the environment, in the flags, and last the values that are out of range. The struct is
// not changed then. With --version or --help nothing else is read, so that they work with
// every configuration; the struct is not changed either.
//
// Load keeps nothing between two calls, and changes nothing but the struct. So a running
// program may call it again, with a new struct: it reads the file again. With the same options
// and files it makes the same values: two structs, or parts of them, can be compared with
// reflect.DeepEqual, to see what has changed. The values have the names of other files, such
// as those of certificates, but not their contents. Loaded.Changed says which keys have changed,
// and Loaded.Keep undoes what the program cannot change while it runs.
func Load(into any, o Options) (*Loaded, error) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: Load needs a pointer to a struct, not a %T", into))
	}
	l := &Loaded{schema: walk(v.Elem().Type(), o), into: v.Elem()}
	in := read(l.schema, o.args(), o.environ())
	l.Action = in.action
	if in.action == Version || in.action == Help {
		return l, nil
	}
	in.inherit()
	work := reflect.New(v.Elem().Type())
	work.Elem().Set(v.Elem())
	in.assign(work.Elem())
	in.check(work)
	if len(in.problems) > 0 {
		return nil, errors.Join(in.problems...)
	}
	v.Elem().Set(work.Elem())
	l.settings, l.file, l.empty = in.settings, in.name, in.empty
	return l, nil
}

// File returns the name of the file that Load has read, as it was given; empty if there is none.
func (l *Loaded) File() string { return l.file }

// FileIsEmpty reports whether the file that Load has read sets no key and names no member of a map.
// Such a file may be one that is being written: a program that reads its file again should not take
// it. It is false if there is no file.
func (l *Loaded) FileIsEmpty() bool { return l.empty }

// IsSet reports whether a source sets the key, whatever the value. It is false for a key that has its
// default or the value of another key.
func (l *Loaded) IsSet(key string) bool {
	return slices.ContainsFunc(l.settings, func(set *setting) bool { return set.key.name == key && !set.follows() })
}
