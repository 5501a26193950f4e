package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// envPrefix is the beginning of all our environment variables.
const envPrefix = "WIRELINE_"

// key is one setting of a configuration struct.
type key struct {
	name  string       // tcp.max_clients
	path  string       // TCP.MaxClients, as its Validate method and Go name it
	index []int        // for reflect's FieldByIndex
	typ   reflect.Type // of the field
	kind  *kind
	def   string // the default, as text
	help  string

	// inherit is the key whose value a key has that no source sets; or empty.
	inherit string
}

// env is the environment variable that sets the key.
func (k *key) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// defaultText returns the default for --help.
func (k *key) defaultText() string {
	if k.def == "" {
		return "none"
	}
	return k.def
}

// schema has the keys of a configuration struct in their order, and its sections, as the
// tags say.
type schema struct {
	keys     []*key
	byName   map[string]*key
	sections map[string]bool
}

// walk reads the tags of a struct type. It panics if they make no sense: that is an error
// in the program, not in its configuration.
func walk(t reflect.Type) *schema {
	s := &schema{byName: map[string]*key{}, sections: map[string]bool{}}
	s.section(t, key{})
	return s
}

// section adds the fields of t, the struct at parent. The keys of an inline struct are keys
// of the section that it is in.
func (s *schema) section(t reflect.Type, parent key) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("config"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case option == "inline" && name == "" && f.Type.Kind() == reflect.Struct:
		case name == "":
			panic(fmt.Sprintf("config: %v.%s has no config tag", t, f.Name))
		}
		k := key{
			name:  join(parent.name, name),
			path:  join(parent.path, f.Name),
			index: append(parent.index[:len(parent.index):len(parent.index)], i),
			typ:   f.Type,
			def:   f.Tag.Get("default"),
			help:  f.Tag.Get("help"),

			inherit: f.Tag.Get("inherit"),
		}
		if name == "" {
			k.name = parent.name
			s.section(f.Type, k)
			continue
		}
		if f.Type.Kind() == reflect.Struct && !isText(f.Type) {
			s.sections[k.name] = true
			s.section(f.Type, k)
			continue
		}
		s.add(&k, option)
	}
}

func (s *schema) add(k *key, option string) {
	k.kind = kindOf(k.typ, option)
	if k.kind == nil {
		panic(fmt.Sprintf("config: %s: no kind of value for the type %v with the option %q", k.path, k.typ, option))
	}
	if _, err := k.kind.parse(k.def); err != nil {
		panic(fmt.Sprintf("config: %s: the default %q %v", k.path, k.def, err))
	}
	if s.byName[k.name] != nil {
		panic(fmt.Sprintf("config: the key %s is there twice", k.name))
	}
	s.keys = append(s.keys, k)
	s.byName[k.name] = k
}

// join puts a dot between two names, unless the first is empty.
func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

// names returns all names that a file may use.
func (s *schema) names() []string {
	var names []string
	for name := range s.sections {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, k := range s.keys {
		names = append(names, k.name)
	}
	return names
}
