package config

import (
	"errors"
	"reflect"
)

// Key is what tests see of a key.
type Key struct {
	Name, Env, Default, Help, Kind string
	Index                          []int
	Type                           reflect.Type
	Parse                          func(text string) (any, error)
}

// wireline are the options of the program's keys.
var wireline = Options{Name: "wireline", Prefix: "WIRELINE"}

// Keys returns the keys of a configuration struct.
func Keys(of any) (keys []Key) {
	for _, k := range walk(reflect.TypeOf(of), wireline).keys {
		keys = append(keys, Key{k.name, k.env, k.def, k.help, k.kind.name, k.index, k.typ, k.kind.parse})
	}
	return keys
}

// Read is Load without the checks of Validate.
func Read(into any, args, environ []string) (*Loaded, error) {
	s := walk(reflect.TypeOf(into).Elem(), wireline)
	in := read(s, args, environ)
	if len(in.problems) > 0 {
		return nil, errors.Join(in.problems...)
	}
	in.assign(reflect.ValueOf(into).Elem())
	return &Loaded{Action: in.action, settings: in.settings, schema: s}, nil
}

// Kinds are the kinds of values by their names.
var Kinds = map[string]*kind{}

func init() {
	for _, k := range []*kind{stringKind, boolKind, intKind, numberKind, durationKind, sizeKind, listKind} {
		Kinds[k.name] = k
	}
	Kinds["autosize"] = autoSizeKind
}

// Parse reads a value.
func (k *kind) Parse(text string) (any, error) { return k.parse(text) }

// Format writes one.
func (k *kind) Format(value any) string { return k.format(value) }
