package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// key is one setting of a configuration struct.
type key struct {
	name  string       // tcp.max_clients
	env   string       // WIRELINE_TCP_MAX_CLIENTS
	path  string       // TCP.MaxClients, as its Validate method and Go name it
	index []int        // for reflect's FieldByIndex, in the struct or in the member
	typ   reflect.Type // of the field
	kind  *kind
	def   string // the default, as text
	help  string

	// inherit is the key whose value a key has that no source sets; or empty.
	inherit string

	// zero is what a zero in a source becomes; 0 if it stays. In many structs zero means the
	// default, and the user has written a zero.
	zero int64

	member *member // that the key belongs to; nil if the key is not of a family
	top    *key    // of a member's key: the key that it inherits from; or nil
}

// defaultText returns the default for --help.
func (k *key) defaultText() string {
	if k.def == "" {
		return "none"
	}
	return k.shownDefault()
}

// shownDefault is the default as it may be shown.
func (k *key) shownDefault() string {
	if k.kind == secretKind {
		return masked(k.def)
	}
	return k.def
}

// schema has the keys of a configuration struct in their order, and its sections, as the
// tags say.
type schema struct {
	options  Options
	prefix   string // of environment variables
	typ      reflect.Type
	keys     []*key // without those of families
	byName   map[string]*key
	sections map[string]string // the path of each, by its name
	families []*family
}

// walk reads the tags of a struct type. It panics if they make no sense: that is an error
// in the program, not in its configuration.
func walk(t reflect.Type, o Options) *schema {
	s := &schema{options: o, prefix: o.envPrefix(), typ: t, byName: map[string]*key{}, sections: map[string]string{}}
	s.section(t, key{})
	for name := range o.Defaults {
		if s.byName[name] == nil {
			panic("config: Options.Defaults has the key " + name + ", which does not exist")
		}
	}
	for _, f := range s.families {
		f.init()
	}
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
		switch {
		case name == "":
			k.name = parent.name
			if f.Anonymous { // Go names its fields without it
				k.path = parent.path
			}
			s.section(f.Type, k)
		case f.Type.Kind() == reflect.Struct && !isText(f.Type):
			s.sections[k.name] = k.path
			s.section(f.Type, k)
		case isFamily(f.Type):
			s.sections[k.name] = k.path
			s.families = append(s.families, newFamily(s, &k, f.Tag))
		default:
			k.zero = zeroOf(&k, f.Tag.Get("zero"))
			s.add(&k, option)
		}
	}
}

// zeroOf reads the tag zero.
func zeroOf(k *key, tag string) int64 {
	if tag == "" {
		return 0
	}
	n, err := strconv.ParseInt(tag, 10, 64)
	if err != nil || !reflect.New(k.typ).Elem().CanInt() {
		panic(fmt.Sprintf("config: %s: the zero %q is not for the type %v", k.path, tag, k.typ))
	}
	return n
}

func (s *schema) add(k *key, option string) {
	k.kind = kindOf(k.typ, option)
	if k.kind == nil {
		panic(fmt.Sprintf("config: %s: no kind of value for the type %v with the option %q", k.path, k.typ, option))
	}
	if def, ok := s.options.Defaults[k.name]; ok {
		k.def = def
	}
	if _, err := k.kind.parse(k.def); err != nil {
		panic(fmt.Sprintf("config: %s: the default %q %v", k.path, k.def, err))
	}
	if s.byName[k.name] != nil {
		panic(fmt.Sprintf("config: the key %s is there twice", k.name))
	}
	k.env = s.prefix + envName(k.name)
	s.keys = append(s.keys, k)
	s.byName[k.name] = k
}

// envName is the name of a key in the environment, without the prefix.
func envName(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
}

// join puts a dot between two names, unless the first is empty.
func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

// all returns all keys in their order, those of the members of families last.
func (s *schema) all() []*key {
	keys := slices.Clone(s.keys)
	for _, f := range s.families {
		for _, m := range f.sorted() {
			keys = append(keys, m.keys...)
		}
	}
	return keys
}

// isSection reports whether a section has this name.
func (s *schema) isSection(name string) bool {
	_, ok := s.sections[name]
	return ok
}

// names returns all names that a file may use.
func (s *schema) names() []string {
	var names []string
	for name := range s.sections {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, k := range s.all() {
		names = append(names, k.name)
	}
	return names
}
